"""From gradients to weights: optimizer step, gradient averaging, moving average."""
