"""How far one photo is, and where its time went."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class PhotoProgress:
    """How far one photo is: tiles done of all tiles in all steps, and which step is running (1-based)."""

    done: int
    total: int
    step: int
    steps: int


@dataclass
class ProgressCounter:
    """Counts tiles over all steps and passes, and tells."""

    report: Callable[[PhotoProgress], None] | None
    steps: int
    totals: list[int]
    done: int = 0
    base: int = 0

    def tick(self) -> None:
        """One tile is done."""
        self.done += 1
        tiles = max(1, self.totals[0] // self.steps)
        step = min(self.steps, (self.done - self.base - 1) // tiles + 1)
        if self.report:
            total = self.base + sum(self.totals)
            self.report(
                PhotoProgress(
                    done=min(self.done, total),
                    total=total,
                    step=step,
                    steps=self.steps,
                )
            )

    def restart(self, tiles: int) -> None:
        """Begin the running pass again, with another number of tiles a step."""
        self.done, self.totals[0] = self.base, tiles * self.steps

    def next_pass(self) -> None:
        """The running pass is done."""
        self.base += self.totals.pop(0)
        self.done = self.base


@dataclass
class StageTimer:
    """Seconds by stage, summed over passes."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside towards ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
