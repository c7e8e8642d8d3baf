"""The weights of one model, in memory at most once: on one device, in one precision."""

from collections.abc import Callable
from dataclasses import replace

from addsr_cli import hardware
from addsr_cli.engine.plan import BYTES_PER_NUMBER, Dtype
from addsr_cli.hardware import Hardware
from addsr_cli.models.architecture import Network
from addsr_cli.models.one_pass import PrecisionLoss
from addsr_cli.weights import loader
from addsr_cli.weights.loader import Located

Wrap = Callable[[Network], Network]


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
        self.network: Network | None = None
        self.device = ""
        self.dtype: Dtype = "fp32"
        self._digest = ""
        self._unfit: dict[tuple[str, Dtype], str] = {}  # what was tried in vain, and why

    def load(self, device: str, dtype: Dtype) -> Network:
        """Return the network on ``device`` in ``dtype``, loading its weights if necessary.

        Raises PrecisionLoss where its pictures would not be those of float32.
        """
        if self.network is not None and (self.device, self.dtype) == (device, dtype):
            return self.network
        if (device, dtype) in self._unfit:
            raise PrecisionLoss(self._unfit[device, dtype])
        self.unload()
        try:
            network = loader.load(
                self.located,
                device=device,
                dtype=dtype,
                compiled=self.compiled,
            )
        except PrecisionLoss as exc:
            self._unfit[device, dtype] = str(exc)
            raise
        if self.wrap:
            network = self.wrap(network)
        self.network = network
        self.device = device
        self.dtype = dtype
        return network

    def unload(self) -> None:
        """Free the weights, before others are loaded: there may not be room for both."""
        if self.network is None:
            return
        self.network = None
        hardware.release_memory(self.device)

    def probe(self, device: str) -> Hardware:
        """Return the machine, with the weights that are already loaded counted as free memory.

        Plans count the weights as needed, so without this they would count twice.
        """
        machine = hardware.probe(device)
        if self.network is None or self.device != machine.device:
            return machine
        loaded = self.located.spec.footprint.weights(BYTES_PER_NUMBER[self.dtype])
        return replace(machine, free_bytes=machine.free_bytes + loaded)

    def digest(self) -> str:
        """Return the sha256 of the weights, hexadecimal; computed once."""
        if not self._digest:
            self._digest = self.located.digest()
        return self._digest
