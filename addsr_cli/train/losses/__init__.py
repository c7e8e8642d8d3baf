"""Distances and adversarial terms, one value per sample."""
