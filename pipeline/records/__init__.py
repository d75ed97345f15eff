"""What is kept of a run on disk: records and their reuse, the workdir, the report."""
