"""Where weight files come from: sources, downloads, the cache, installed models, conversion, verification."""
