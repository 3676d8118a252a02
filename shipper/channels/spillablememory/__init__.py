"""The spillable memory channel: memory, and a log on disk behind it."""
