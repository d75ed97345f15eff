"""The science: plan, masking, student, losses, step, schedule. numpy, torch and transformers only; no Ray, no files."""
