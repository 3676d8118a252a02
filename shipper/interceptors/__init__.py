"""What changes or drops events on their way in: one file a type."""
