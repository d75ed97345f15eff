"""An ablation: a recipe trained again without one thing at a time, and what each of them is worth."""
