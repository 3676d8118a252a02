"""The sink that rolls files on HDFS and on file://."""
