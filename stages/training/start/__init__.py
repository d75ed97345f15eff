"""How a training's workers begin: the same models, the same optimiser and the same place, read once for all."""
