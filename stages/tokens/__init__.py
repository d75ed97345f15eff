"""Documents to packed blocks of token ids: the stage, its config, vocabulary, packing, and the blocks themselves."""
