"""The weights of one model, in memory at most once: on one device, in one precision."""

from collections.abc import Callable
from dataclasses import replace

from addsr_cli import hardware
from addsr_cli.engine.plan import BYTES_PER_NUMBER, Dtype
from addsr_cli.hardware import Hardware
from addsr_cli.models.restorer import Restorer
from addsr_cli.weights import loader
from addsr_cli.weights.loader import Located

Wrap = Callable[[Restorer], Restorer]


class ResidentModel:
    """Loads weights at first use, and again when a plan wants another device or precision.

    ``wrap`` replaces the loaded network by one with the same interface, such as one that measures
    time.
    """

    def __init__(
        self,
        located: Located,
        *,
        compiled: bool,
        wrap: Wrap | None = None,
    ) -> None:
        self.located = located
        self.compiled = compiled
        self.wrap = wrap
        self.restorer: Restorer | None = None
        self.device = ""
        self.dtype: Dtype = "fp32"
        self._digest = ""

    def load(self, device: str, dtype: Dtype) -> Restorer:
        """Return the network on ``device`` in ``dtype``, loading its weights if necessary."""
        if self.restorer is not None and (self.device, self.dtype) == (device, dtype):
            return self.restorer
        self.unload()
        restorer = loader.load(
            self.located,
            device=device,
            dtype=dtype,
            compiled=self.compiled,
        )
        if self.wrap:
            restorer = self.wrap(restorer)
        self.restorer = restorer
        self.device = device
        self.dtype = dtype
        return restorer

    def unload(self) -> None:
        """Free the weights, before others are loaded: there may not be room for both."""
        if self.restorer is None:
            return
        self.restorer = None
        hardware.release_memory(self.device)

    def probe(self, device: str) -> Hardware:
        """Return the machine, with the weights that are already loaded counted as free memory.

        Plans count the weights as needed, so without this they would count twice.
        """
        machine = hardware.probe(device)
        if self.restorer is None or self.device != machine.device:
            return machine
        loaded = self.located.spec.footprint.weights(BYTES_PER_NUMBER[self.dtype])
        return replace(machine, free_bytes=machine.free_bytes + loaded)

    def digest(self) -> str:
        """Return the sha256 of the weights, hexadecimal; computed once."""
        if not self._digest:
            self._digest = self.located.digest()
        return self._digest
