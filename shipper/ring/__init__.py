"""Bytes across processes; knows no events."""
