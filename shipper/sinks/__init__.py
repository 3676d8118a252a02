"""Where events go: one file a type."""
