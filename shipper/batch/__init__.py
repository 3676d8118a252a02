"""The unit of data: rows by columns."""
