"""Files that roll, over any store."""
