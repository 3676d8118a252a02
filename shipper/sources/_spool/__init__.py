"""What the spooldir source is made of: the directory, a file's content, its end, and Flume's progress file."""
