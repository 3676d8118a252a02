"""How rows become bytes: one file a type."""
