"""A search for the temperature and the loss weights: what is searched, its trials, and what is believed of them."""
