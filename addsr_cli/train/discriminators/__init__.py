"""Networks that tell photos from restored pictures, and how they are trained."""
