"""What belongs to one agent on this machine: its directories, what its channels hold, and what is left of it."""
