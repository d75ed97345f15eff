"""report.html: one page on a finished run, in a file that needs nothing beside it."""
