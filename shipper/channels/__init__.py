"""Where events wait between a source and a sink."""
