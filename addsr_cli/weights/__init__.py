"""Where weights come from: sources, downloads, cache, installed models, conversion, checks."""
