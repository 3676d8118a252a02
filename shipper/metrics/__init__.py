"""Numbers that can be read while we run."""
