"""`AnimatedPhoto`: the frames of an animation, or the pages of a file, as one photo."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from addsr_cli.imageio.photo import Photo

Frames = Literal["first", "all"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AnimatedPhoto(Photo):
    """The first frame, which is the photo itself, and those that follow.

    ``durations`` are in milliseconds, one per frame, and empty for the pages of a TIFF file;
    ``loops`` is how often the animation plays, 0 for without end.
    """

    following: tuple[Photo, ...]
    durations: tuple[float, ...] = ()
    loops: int = 0

    @property
    def frames(self) -> tuple[Photo, ...]:
        """All frames as single photos."""
        first = Photo(**{field.name: getattr(self, field.name) for field in fields(Photo)})
        return first, *self.following

    def with_frames(self, frames: Sequence[Photo]) -> "AnimatedPhoto":
        """Return the animation of other frames, as many as now, with the same timing."""
        return animate(frames, self.durations, self.loops)


def animate(
    frames: Sequence[Photo],
    durations: Sequence[float] = (),
    loops: int = 0,
) -> AnimatedPhoto:
    """Return the animation of one or more frames; see `AnimatedPhoto`."""
    first, *following = frames
    return AnimatedPhoto(
        **{field.name: getattr(first, field.name) for field in fields(Photo)},
        following=tuple(following),
        durations=tuple(durations),
        loops=loops,
    )


def frames_of(photo: Photo) -> tuple[Photo, ...]:
    """Return the frames of an animation, or the one of any other photo."""
    return photo.frames if isinstance(photo, AnimatedPhoto) else (photo,)
