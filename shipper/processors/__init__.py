"""Which sink of a group is next: one file a type."""
