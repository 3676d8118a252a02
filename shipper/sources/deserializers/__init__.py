"""How a file becomes events: one file a type. Used by spooldir."""
