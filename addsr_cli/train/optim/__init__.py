"""From gradients to weights: optimizer step, gradient averaging, exponential moving average."""
