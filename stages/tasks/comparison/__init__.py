"""Which fine-tunings a comparison takes, each done once and kept, and how sure what comes out of them is."""
