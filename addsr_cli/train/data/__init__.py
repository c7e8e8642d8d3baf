"""Training pairs from photos: dataset, augmentation, tags."""
