"""Where events come from: one file a type."""
