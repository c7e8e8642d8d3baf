"""How a photo becomes a picture that every browser shows: its size, format and quality."""

from base64 import b64encode
from dataclasses import dataclass

from addsr_cli import imageio
from addsr_cli.errors import UsageError
from addsr_cli.imageio import Photo, WriteOptions

_LOSSLESS_PIXELS = 512 * 512  # a PNG of this size is still small
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """How pictures are embedded in a page.

    ``quality`` (1 to 100) is that of pictures of more than 512x512 pixels, which are embedded as
    JPEG or WebP; with ``lossless`` False that of all pictures. Pictures whose longest side exceeds
    ``max_side`` pixels are reduced to it. Raises UsageError outside the ranges.
    """

    quality: int = 95
    max_side: int = 8192
    lossless: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UsageError(
                f"Quality {self.quality} is out of range.", "Give a number from 1 to 100."
            )
        if not 16 <= self.max_side <= 16383:  # the limit of WebP
            raise UsageError(
                f"--max-side {self.max_side} is out of range.", "Give a number from 16 to 16383."
            )

    def reduced(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (width, height) that is embedded: within ``max_side``, of the same aspect."""
        width, height = size
        factor = min(1.0, self.max_side / max(size))
        return max(1, round(width * factor)), max(1, round(height * factor))


@dataclass(frozen=True, kw_only=True)
class EncodedPicture:
    """A picture as a browser takes it; ``media_type`` is that of the bytes, such as image/png."""

    data: bytes
    media_type: str


def encode_picture(photo: Photo, embedding: Embedding) -> EncodedPicture:
    """Return the photo as PNG when it is small, as WebP when it has alpha, else as JPEG.

    Lossy WebP halves the resolution of colour, JPEG need not. Raises OutputRefused for pixels that
    are not finite.
    """
    photo = imageio.resize_photo(photo, embedding.reduced(photo.size))
    is_lossless = embedding.lossless and photo.width * photo.height <= _LOSSLESS_PIXELS
    lossy = "WEBP" if photo.has_alpha else "JPEG"
    name = "PNG" if is_lossless else lossy
    options = WriteOptions(
        format=name,
        quality=None if is_lossless else embedding.quality,
        bit_depth=8,
        metadata=False,
    )
    return EncodedPicture(data=imageio.encode(photo, options), media_type=_TYPES[name])


def data_url(photo: Photo, embedding: Embedding) -> str:
    """Return the picture as a ``data:`` URL. Raises as `encode_picture` does."""
    picture = encode_picture(photo, embedding)
    return f"data:{picture.media_type};base64,{b64encode(picture.data).decode()}"
