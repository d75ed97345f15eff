"""Which models there are to the science: where their parts lie, and a student made of a teacher's blocks."""
