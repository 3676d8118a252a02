"""The `file` channel: lanes in shared memory as far as its writer, and behind that a durable log."""
