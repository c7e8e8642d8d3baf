"""Training: data, degradation, losses, checkpoints and the loop."""
