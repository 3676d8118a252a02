"""The real command of the exec source: its process, and the lines of its output."""
