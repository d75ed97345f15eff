"""A task's rows out of files and hub data sets: tables, GLUE's plain lines, CoNLL columns, SQuAD's layout."""
