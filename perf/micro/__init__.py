"""Benchmarks of one step of the walk, in one process."""
