"""`distil task`: a fine-tuned model made smaller for its task, from the command to the registry."""
