"""Which kinds of models there are to the science: a file for each, and a table that lists them."""
