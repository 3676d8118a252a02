"""Processes: the supervisor, its template, and the two hot loops."""
