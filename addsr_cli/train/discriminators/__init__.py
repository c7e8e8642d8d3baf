"""Networks that tell photos from restored images, and their training step."""
