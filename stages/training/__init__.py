"""One training for teacher and student: the driver, its workers, and the channel between them."""
