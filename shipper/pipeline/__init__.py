"""The walk of a batch, without processes."""
