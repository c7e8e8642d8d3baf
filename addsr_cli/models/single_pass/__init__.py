"""Networks that answer in one pass."""
