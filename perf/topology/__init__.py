"""Benchmarks of whole agents, from the bytes that arrive to the bytes that left."""
