"""The channel whose lanes are rings in shared memory."""
