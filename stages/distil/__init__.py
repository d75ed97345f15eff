"""The stage that makes a student: its config, and a training with the triple loss."""
