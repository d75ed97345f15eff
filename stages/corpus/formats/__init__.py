"""What is inside an input file: text by lines, JSON, CSV, Parquet, and what is said of one that is broken."""
