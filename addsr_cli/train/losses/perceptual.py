"""Features of a pretrained VGG16, shared by the LPIPS loss and the discriminator on VGG."""

from torch import Tensor

from addsr_cli.perceptual import LPIPS

CACHED_IMAGES = 2  # the student's image and HR


class VggFeatures:
    """LPIPS with VGG16 that caches features, so that several losses share one pass per image."""

    def __init__(self, lpips: LPIPS) -> None:
        self.lpips = lpips
        self.cache: list[tuple[Tensor, list[Tensor]]] = []

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Return features (B, C, h, w) of five stages of an image (B, 3, H, W) in [0, 1].

        Gradients flow to the image if it requires them. The cache compares images by identity.
        """
        for cached, features in self.cache:
            if cached is image:
                return features
        features = self.lpips.features(image)
        self.cache = [*self.cache[1 - CACHED_IMAGES :], (image, features)]
        return features

    def distance(self, image: Tensor, hr: Tensor) -> Tensor:
        """Return LPIPS (B,) between two images, with gradients to both that require them."""
        return self.lpips.between(self(image), self(hr))

    def clear(self) -> None:
        """Drop cached features, and with them the graph of the last step."""
        self.cache.clear()
