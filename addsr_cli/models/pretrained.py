"""What networks that were trained elsewhere have in common."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize_imagenet(image: Tensor) -> Tensor:
    """Shift RGB (B, 3, H, W) in [0, 1] to mean 0 and deviation 1 over ImageNet."""
    mean = image.new_tensor(IMAGENET_MEAN).view(3, 1, 1)
    std = image.new_tensor(IMAGENET_STD).view(3, 1, 1)
    return (image - mean) / std


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars of its own while it loads."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
