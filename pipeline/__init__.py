"""Who calls what, with which config, and what is recorded."""
