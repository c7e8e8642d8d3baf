"""What one page may send and how long it is remembered."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a running page.

    ``photo_bytes`` is the size of one file, ``pixels`` those of one photo, ``photos`` the number of
    photos of one browser, ``sessions`` the number of browsers. A browser that has not been heard of
    for ``idle_seconds``, and that has nothing in the queue, is forgotten with all its photos.
    """

    photo_bytes: int = 300_000_000
    pixels: int = 200_000_000
    photos: int = 500
    sessions: int = 20
    idle_seconds: float = 3600.0
