"""Documents to blocks: each read by itself and packed by best fit, or all in one stream; written a shard at a time."""
