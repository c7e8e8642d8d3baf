"""How far one photo is, and how long each stage took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class PhotoProgress:
    """Tiles done, of all tiles in all steps and passes, and the running step (1-based)."""

    done: int
    total: int
    step: int
    steps: int


OnProgress = Callable[[PhotoProgress], None]


def part_of(
    on_progress: OnProgress | None,
    number: int,
    count: int,
) -> OnProgress | None:
    """Return a function that reports the progress of one of ``count`` pictures as that of all."""
    if on_progress is None or count == 1:
        return on_progress

    def report(progress: PhotoProgress) -> None:
        on_progress(
            replace(
                progress,
                done=number * progress.total + progress.done,
                total=count * progress.total,
            )
        )

    return report


@dataclass(kw_only=True)
class ProgressCounter:
    """Counts tiles over all steps and passes, and reports each one.

    ``pass_tiles`` holds the number of tiles in all steps, for the running pass and those after it;
    ``finished`` counts the tiles of passes that are over.
    """

    on_progress: OnProgress | None
    steps: int
    pass_tiles: list[int]
    step: int = 1
    done: int = 0
    finished: int = 0

    def tile_done(self) -> None:
        """Count one tile and report it."""
        self.done += 1
        if self.on_progress is None:
            return
        total = self.finished + sum(self.pass_tiles)
        progress = PhotoProgress(
            done=min(self.done, total),
            total=total,
            step=min(self.steps, self.step),
            steps=self.steps,
        )
        self.on_progress(progress)

    def start_region(self) -> None:
        """Go on to the first step of another part of the picture."""
        self.step = 1

    def step_done(self) -> None:
        """Go on to the next step."""
        self.step += 1

    def restart_pass(self, tiles: int) -> None:
        """Start the running pass again, with another number of tiles in all steps."""
        self.done = self.finished
        self.pass_tiles[0] = tiles

    def finish_pass(self) -> None:
        """Go on to the next pass."""
        self.finished += self.pass_tiles.pop(0)
        self.done = self.finished


@dataclass
class StageTimer:
    """Seconds by stage, summed over passes."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside the block to the stage ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
