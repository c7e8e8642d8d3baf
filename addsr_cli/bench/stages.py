"""Where the time of one picture goes: a stopwatch around the network, and the engine's stages put in order."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from addsr_cli.engine.progress import StageTimer
from addsr_cli.hardware import synchronize
from addsr_cli.models.restorer import Conditioning, Noise, Restorer
from addsr_cli.settings import PromptSettings

NETWORK = (
    "tag",
    "encode",
    "denoise",
    "psr decode",
    "psr tag",
    "decode",
)  # what the matrix rate of the machine is compared with
STAGES = (
    "io",
    "resize",
    "tag",
    "encode",
    "denoise",
    "psr decode",
    "psr tag",
    "decode",
    "sampler",
    "color",
)
OURS = {"read": "io", "write": "io", "plan": "resize", "canvas": "resize", "finish": "resize"}
T = TypeVar("T")


class Timed:
    """A ``Restorer`` that counts the seconds of another one by stage.

    "denoise" is UNet and ControlNet together. A decode is one of PSR when an ``embed`` follows it:
    the sampler decodes once more only at the end.
    """

    def __init__(self, restorer: Restorer) -> None:
        self.inner = restorer
        self.clock = StageTimer()
        self.schedule, self.factor, self.channels = (
            restorer.schedule,
            restorer.factor,
            restorer.channels,
        )
        self.exact_codec, self.halo = restorer.exact_codec, restorer.halo

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """The inner one's."""
        return self._timed("encode", lambda: self.inner.encode(image, noise), image)

    def decode(self, z: Tensor) -> Tensor:
        """The inner one's."""
        return self._timed("decode", lambda: self.inner.decode(z), z)

    def describe(self, photo: Tensor, guide: PromptSettings) -> Conditioning:
        """The inner one's; the engine's stage "tag" counts it."""
        return self.inner.describe(photo, guide)

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """The inner one's."""
        seconds = self.clock.seconds
        seconds["psr decode"] = seconds.get("psr decode", 0.0) + seconds.pop("decode", 0.0)
        return self._timed("psr tag", lambda: self.inner.embed(image, cond), image)

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """The inner one's."""
        return self._timed("denoise", lambda: self.inner.denoise(z, t, control, cond), z)

    def _timed(self, name: str, call: Callable[[], T], near: Tensor) -> T:
        synchronize(str(near.device))
        with self.clock.stage(name):
            result = call()
            synchronize(str(near.device))
        return result


def ordered(engine: dict[str, float], network: dict[str, float]) -> dict[str, float]:
    """Seconds by ``STAGES``: the engine's, with its "network" split into what ``Timed`` counted and the sampler's rest.

    "load" is left out: it happens once, not for every picture.
    """
    found = dict.fromkeys(STAGES, 0.0)
    for name, seconds in engine.items():
        if name not in ("load", "network"):
            found[OURS.get(name, name)] += seconds
    for name, seconds in network.items():
        found[name] += seconds
    found["sampler"] = max(0.0, engine.get("network", 0.0) - sum(network.values()))
    return found
