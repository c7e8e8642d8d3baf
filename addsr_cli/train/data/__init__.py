"""Photos in, training pairs out."""
