"""What a network costs, and how far it sees, found out by running it on a test picture.

Of networks of strangers nothing of this can be looked up. Their measurements are kept in the cache,
by the digest of the file.
"""

import json
import math
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from addsr_cli.errors import AddsrError
from addsr_cli.files import write_text
from addsr_cli.folders import cache_folder
from addsr_cli.models.single_pass.network import Enlarger

TOLERANCE = 0.5 / 255  # what pixels may change by when a part of the picture is cut away
SHARE = 0.999  # of the pixels beyond the halo that do not change by more
LARGEST = 2 / 255  # what no pixel there changes by
SPARE = 8  # pixels of the halo beyond what was measured: other pictures may reach farther
EXACT = 1e-5  # largest change beyond the receptive field: float32's, which depends on the size
LARGEST_FIELD = 48  # of a receptive field that is taken whole for the halo, in pixels
HEIGHT, CUT, WIDTH = 48, 64, 192  # the test picture, and the columns that are cut away of it
SMALL = 16  # side of a picture that only shows the cost
DARK = 0.2  # brightness of those columns, to see whether a network looks at the whole picture
GRID = 64  # a multiple of the windows that transformers divide a picture into
BYTES = 4  # of a number in float32
VERSION = 2  # of the file that keeps measurements


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What one network costs and sees.

    ``alignment`` and ``halo`` are those of ``OnePassNetwork``. ``memory`` is the working memory in
    bytes in float32, ``flop`` the operations, both per pixel of the input.
    """

    alignment: int
    halo: int | None
    memory: int
    flop: int


class _MemoryWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # not annotated by torch
    """Counts the bytes of all tensors that are made while it is active, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # not annotated by torch
        self.now = 0
        self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 (an operator of torch)
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (whatever the operator returns)
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        address = storage._cdata
        if address in self.seen:
            return
        self.seen.add(address)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, address, size)

    def _forget(self, address: int, size: int) -> None:
        self.seen.discard(address)
        self.now -= size


def check_picture(height: int, width: int) -> Tensor:
    """Return a picture (1, 3, height, width) in [0, 1] with detail of every size, and edges.

    It is the same every time.
    """
    generator = torch.Generator().manual_seed(0)
    picture = torch.zeros(1, 3, height, width)
    longest = max(height, width)
    side = 2
    while side <= longest:
        grid = (max(1, height * side // longest), max(1, width * side // longest))
        noise = torch.randn(1, 3, *grid, generator=generator)
        noise = 0.3 * noise + noise.mean(1, keepdim=True)  # mostly grey, as photos are
        picture += F.interpolate(noise, (height, width), mode="bicubic") / math.sqrt(side)
        side *= 2
    picture = torch.where(picture[:, :1] > 0.8, 1.5 - picture, picture)  # edges
    return (0.5 + 0.25 * picture).clamp(0, 1)


def measure(network: Enlarger) -> Measurements:
    """Return what a network costs and sees; one whose halo is known is run on a small picture."""
    if network.halo is not None:
        _, memory, flop = _cost(network, check_picture(SMALL, SMALL))
        return Measurements(
            alignment=network.alignment,
            halo=network.halo,
            memory=memory,
            flop=flop,
        )
    picture = check_picture(HEIGHT, WIDTH)
    whole, memory, flop = _cost(network, picture)
    alignment, halo = _tiling(network, picture, whole)
    return Measurements(
        alignment=alignment,
        halo=halo,
        memory=memory,
        flop=flop,
    )


def _cost(network: Enlarger, picture: Tensor) -> tuple[Tensor, int, int]:
    """Return the enlarged picture, and bytes and operations per pixel of the input."""
    watch = _MemoryWatch()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, watch:
        whole = network.enlarge(picture)
    pixels = picture.shape[-2] * picture.shape[-1]
    return whole, math.ceil(watch.peak / pixels), math.ceil(counter.get_total_flops() / pixels)


def _tiling(
    network: Enlarger,
    picture: Tensor,
    whole: Tensor,
) -> tuple[int, int | None]:
    """Return alignment and halo.

    First the picture is cut where windows of a transformer do not begin; if that changes all of
    the rest, where they do.
    """
    if not _ignores_far_pixels(network, picture, whole):
        return GRID, None
    for cut, alignment in ((CUT + network.multiple, network.multiple), (CUT, GRID)):
        right_part = network.enlarge(picture[..., cut:])
        seen = _reach(network.scale, right_part, whole)
        if seen is not None:
            field = _field(network.scale, right_part, whole)
            return alignment, math.ceil(max(seen + SPARE, field) / alignment) * alignment
    return GRID, None


def _ignores_far_pixels(
    network: Enlarger,
    picture: Tensor,
    whole: Tensor,
) -> bool:
    """Whether pixels far from the left part of the picture stay when that part becomes dark."""
    dark = picture.clone()
    dark[..., :CUT] *= DARK
    columns = CUT * network.scale
    return _reach(network.scale, network.enlarge(dark)[..., columns:], whole) is not None


def _reach(
    scale: int,
    right_part: Tensor,
    whole: Tensor,
) -> int | None:
    """Return how many columns of the input beyond a cut change, or None when it is most of them.

    The picture right of the cut is compared with that part of the whole picture.
    """
    width = right_part.shape[-1]
    change = (right_part - whole[..., -width:]).abs()
    columns = width // scale
    for column in range(int(0.6 * columns)):
        beyond = change[..., column * scale :].flatten()
        if beyond.max() <= LARGEST and largest_but_few(beyond) <= TOLERANCE:
            return column
    return None


def _field(
    scale: int,
    right_part: Tensor,
    whole: Tensor,
) -> int:
    """Return the receptive field beyond a cut, in columns of the input; 0 where it is large.

    Pixels beyond it do not change at all, whatever the picture, so that tiles are exact.
    """
    change = (right_part - whole[..., -right_part.shape[-1] :]).abs().amax((0, 1, 2))
    columns = torch.nonzero(change > EXACT)
    field = math.ceil((int(columns.max()) + 1) / scale) if len(columns) else 0
    return field if field <= LARGEST_FIELD else 0


def largest_but_few(values: Tensor) -> float:
    """Return the largest value of all but one in a thousand."""
    return float(values.kthvalue(max(1, int(SHARE * len(values)))).values)


def measurements(network: Enlarger, digest: Callable[[], str]) -> Measurements:
    """Return the measurements of a network, from the cache where it had to be run once.

    ``digest`` returns the sha256 of its file.
    """
    if network.halo is not None:
        return measure(network)
    file = cache_folder() / "networks" / f"{digest()}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored.pop("version") == VERSION:
            return Measurements(**stored)
    measured = measure(network)
    with suppress(OSError, AddsrError):  # a cache that cannot be written only costs time
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"version": VERSION, **asdict(measured)}))
    return measured
