"""What a step is fed: blocks as they are stored, which of them and in which order, masked, and on the device."""
