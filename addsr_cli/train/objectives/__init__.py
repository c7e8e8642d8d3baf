"""Training steps: what is minimized, and how the student is run."""
