"""Checks, fakes and faults that ship with the product."""
