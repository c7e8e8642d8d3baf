"""Loaded networks that several tests share: building one takes longer than running it once.

Running a network does not change it, and one is shared only while names, sizes and times of change
of all its files are the same. Loading itself is tested in ``weights`` and ``models``.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MOST = 6  # networks in memory


def keeping(load: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``weights.loader.load`` with a memory of the last networks on the CPU."""
    kept: OrderedDict[tuple[object, ...], Any] = OrderedDict()

    def kept_or_loaded(located: Any, *, device: str, dtype: str, compiled: bool = False) -> Any:
        shareable = located.spec.arch in ("nano", "seesr") and device == "cpu"
        if not shareable or compiled or located.decoder or located.random:
            return load(located, device=device, dtype=dtype, compiled=compiled)
        key = (located.spec.arch, dtype, *_stamps(located.file))
        if key not in kept:
            kept[key] = load(located, device=device, dtype=dtype)
        kept.move_to_end(key)
        if len(kept) > MOST:
            kept.popitem(last=False)
        return kept[key]

    return kept_or_loaded


def _stamps(file: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of change of a model's file, or of the files of its bundle."""
    if file.suffix != ".json":
        yield _stamp(file, file.parent)
        return
    for path in sorted(file.parent.rglob("*")):
        if path.is_file():
            yield _stamp(path, file.parent)


def _stamp(path: Path, folder: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path.relative_to(folder)), status.st_size, status.st_mtime_ns
