"""Many photos: walk a folder, queue the work, read, upscale and write, and journal the outcomes."""
