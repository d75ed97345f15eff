"""The fine-tunings of one student: which there are, and what each of Ray's tasks does."""
