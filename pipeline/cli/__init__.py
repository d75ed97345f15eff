"""The command line: words to a config, commands, and what a person sees."""
