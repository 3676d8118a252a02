"""Benchmarks: named for what they measure, each with one goal, a unit and one ratio; `python -m perf` runs all."""
