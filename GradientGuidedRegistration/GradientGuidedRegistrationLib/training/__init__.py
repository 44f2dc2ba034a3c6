"""Training and evaluation of the networks: phantoms, datasets, trainer, checkpoints, the comparison of the paper's Table 1."""
