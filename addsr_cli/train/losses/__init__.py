"""Losses: reconstruction, perceptual, adversarial, and TA-ADD's timestep weights."""
