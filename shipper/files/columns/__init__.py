"""Files of columns (Parquet, ORC, Arrow), made from rows that were staged."""
