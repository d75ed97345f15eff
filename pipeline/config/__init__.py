"""The whole config: its schema, overrides by dotted path, YAML, and what is refused before anything runs."""
