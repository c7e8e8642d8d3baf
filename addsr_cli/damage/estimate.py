"""``Damage``: what is wrong with a photo, in numbers."""

from dataclasses import dataclass

from addsr_cli.damage.blur import blur_deviation
from addsr_cli.damage.jpeg import quality_of_pixels, quality_of_table
from addsr_cli.damage.noise import noise_deviation
from addsr_cli.damage.windows import windows
from addsr_cli.imageio import Photo


@dataclass(frozen=True, kw_only=True)
class Damage:
    """How damaged a photo is.

    ``noise``: standard deviation in levels of 255. ``jpeg_quality``: 1 to 100 as of the Independent
    JPEG Group's encoder, None where no compression shows. ``blur``: standard deviation of the blur
    of its sharpest edges in pixels, None where it has no edges.
    """

    noise: float
    jpeg_quality: int | None
    blur: float | None

    def record(self) -> dict[str, float | int | None]:
        """Return the fields of the JSON record."""
        return {
            "noise": round(self.noise, 2),
            "jpeg_quality": self.jpeg_quality,
            "blur": None if self.blur is None else round(self.blur, 2),
        }


def estimate(photo: Photo) -> Damage:
    """Return the damage of a photo; its alpha is not looked at.

    The quality is that of the file's tables where they are known, else that of the pixels.
    """
    squares = windows(photo)
    noise = noise_deviation(squares)
    if photo.jpeg_table is not None:
        quality: int | None = quality_of_table(photo.jpeg_table)
    else:
        quality = quality_of_pixels(squares)
    return Damage(
        noise=noise,
        jpeg_quality=quality,
        blur=blur_deviation(squares, noise),
    )
