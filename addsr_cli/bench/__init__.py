"""Measures speed and quality, and nothing else: rows of numbers come out, nothing is drawn."""
