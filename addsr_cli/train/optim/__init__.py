"""From gradients to weights: optimizer step, sum over processes, moving average."""
