"""A whole tree of photos: found, named, journaled, run."""
