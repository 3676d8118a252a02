"""A log on disk that loses nothing which it acknowledged; knows no events."""
