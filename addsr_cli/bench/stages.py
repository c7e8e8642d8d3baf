"""Where the time of one picture goes: a network timed by stage, and the engine's own stages."""

from collections.abc import Callable
from typing import TypeVar, cast

from torch import Tensor

from addsr_cli.engine.progress import StageTimer
from addsr_cli.hardware import synchronize
from addsr_cli.models.architecture import Network
from addsr_cli.models.one_pass import OnePassNetwork
from addsr_cli.models.restorer import (
    Conditioning,
    DenoiseStrip,
    Noise,
    Restorer,
    RestorerWrapper,
    RowStreaming,
)

# Stages inside the networks, which are compared with the machine's matmul FLOP/s
NETWORK_STAGES = ("tag", "encode", "denoise", "psr decode", "psr tag", "decode", "enlarge")
STAGES = (
    "io",
    "resize",
    "tag",
    "encode",
    "denoise",
    "psr decode",
    "psr tag",
    "decode",
    "enlarge",
    "sampler",
    "color",
)
# Stages of the engine that are reported under another name
ENGINE_STAGES = {
    "read": "io",
    "write": "io",
    "plan": "resize",
    "canvas": "resize",
    "finish": "resize",
}
T = TypeVar("T")


class TimedRestorer(RestorerWrapper):
    """A ``Restorer`` that times another one by stage.

    ``describe`` is timed by the engine's stage "tag". "denoise" is UNet and ControlNet together. A
    decode is one of PSR when an ``embed`` follows it: the sampler decodes once more only at the
    end.
    """

    def __init__(self, restorer: Restorer) -> None:
        super().__init__(restorer)
        self.clock = StageTimer()

    def encode(self, image: Tensor, noise: Noise | None = None) -> Tensor:
        """Time the same call of the inner restorer."""
        return self._timed("encode", lambda: self.inner.encode(image, noise), image)

    def decode(
        self,
        z: Tensor,
        canvas: Tensor | None = None,
        cond: Conditioning | None = None,
    ) -> Tensor:
        """Time the same call of the inner restorer."""
        return self._timed("decode", lambda: self.inner.decode(z, canvas, cond), z)

    def embed(self, image: Tensor, cond: Conditioning) -> Conditioning:
        """Time the same call of the inner restorer."""
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
        """Time the same call of the inner restorer."""
        return self._timed("denoise", lambda: self.inner.denoise(z, t, control, cond), z)

    def denoise_in_strips(self) -> DenoiseStrip:
        """Time the strips of the inner restorer."""
        denoise = cast("RowStreaming", self.inner).denoise_in_strips()

        def timed_strip(
            z: Tensor,
            t: Tensor,
            control: Tensor,
            last: bool,
        ) -> Tensor:
            return self._timed("denoise", lambda: denoise(z, t, control, last), z)

        return timed_strip

    def _timed(
        self,
        name: str,
        call: Callable[[], T],
        tensor: Tensor,
    ) -> T:
        synchronize(str(tensor.device))
        with self.clock.stage(name):
            result = call()
            synchronize(str(tensor.device))
        return result


class TimedOnePass:
    """A ``OnePassNetwork`` that times another one as the stage "enlarge"."""

    def __init__(self, network: OnePassNetwork) -> None:
        self.inner = network
        self.clock = StageTimer()
        self.scale = network.scale
        self.alignment = network.alignment
        self.halo = network.halo

    def enlarge(self, image: Tensor) -> Tensor:
        """Time the same call of the inner network."""
        with self.clock.stage("enlarge"):
            result = self.inner.enlarge(image)
            synchronize(str(result.device))
        return result


def timed(network: Network) -> TimedRestorer | TimedOnePass:
    """Return a network that times another one by stage."""
    if isinstance(network, OnePassNetwork):
        return TimedOnePass(network)
    return TimedRestorer(network)


def seconds_by_stage(engine: dict[str, float], network: dict[str, float]) -> dict[str, float]:
    """Seconds by ``STAGES``: those of the engine and of the network.

    The sampler is what remains of the engine's "network". "load" is left out: it happens once, not
    for every picture.
    """
    stages = dict.fromkeys(STAGES, 0.0)
    for name, seconds in engine.items():
        if name not in ("load", "network"):
            stages[ENGINE_STAGES.get(name, name)] += seconds
    for name, seconds in network.items():
        stages[name] += seconds
    stages["sampler"] = max(0.0, engine.get("network", 0.0) - sum(network.values()))
    return stages
