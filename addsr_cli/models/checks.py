"""Checks on a file of weights before a network is built around it: names, shapes, numbers.

Files come from strangers. Whatever decides how much memory is allocated is compared with the
header of the file first.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from addsr_cli.errors import ModelUnavailable

SHOWN = 3  # names per sentence
# Errors that libraries raise for damaged files and impossible configurations
UNFIT: tuple[type[Exception], ...]
UNFIT = (ArithmeticError, AttributeError, MemoryError, OSError, RuntimeError, SafetensorError)
UNFIT += (TypeError, ValueError)
Shapes = Mapping[str, tuple[int, ...]]


@contextmanager
def refusing(what: str, hint: str) -> Iterator[None]:
    """Turn errors that libraries raise for a file of weights into ModelUnavailable."""
    try:
        yield
    except KeyError as exc:
        raise ModelUnavailable(f"{what}: it says nothing of its {exc.args[0]}.", hint) from exc
    except UNFIT as exc:
        raise ModelUnavailable(f"{what}: {first_line(exc)}.", hint) from exc


def stored_shapes(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return shapes by name, and the metadata, of a safetensors file; reads its header only.

    Raises OSError and SafetensorError, the latter also when the header and the size of the file do
    not match.
    """
    with safe_open(path, framework="pt") as file:
        names: list[str] = file.keys()
        return {key: tuple(file.get_slice(key).get_shape()) for key in names}, file.metadata() or {}


def check_depth(blocks: int, stored: Shapes) -> None:
    """Raise ValueError when a configuration has more blocks than the file has tensors."""
    if blocks > len(stored):
        raise ValueError(f"its configuration asks for {blocks} blocks, more than it holds tensors")


def check_fit(stored: Shapes, network: nn.Module) -> None:
    """Raise ValueError, in one clause, unless a file holds exactly the weights of a network.

    The network may be on the meta device, where it takes no memory.
    """
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    wrong = {
        "it lacks": [key for key in wanted if key not in stored],
        "it also holds": [key for key in stored if key not in wanted],
        "of another size than its configuration says:": [
            f"{key} ({_by(stored[key])}, not {_by(wanted[key])})"
            for key in wanted
            if key in stored and stored[key] != wanted[key]
        ],
    }
    for problem, names in wrong.items():
        if names:
            raise ValueError(f"{problem} {few(names)}")


def check_numbers(state: Mapping[str, Tensor]) -> None:
    """Raise ValueError, in one clause, when weights are not finite, not floats, or all zero.

    Single tensors may be zero, since layers are often initialized so; not all matrices and kernels
    of a network.
    """
    if foreign := [key for key, value in state.items() if not value.is_floating_point()]:
        raise ValueError(f"whole numbers instead of weights in {few(foreign)}")
    if broken := [key for key, value in state.items() if not _finite(value)]:
        raise ValueError(f"infinite or not a number (NaN) in {few(broken)}")
    matrices = [value for value in state.values() if value.ndim > 1]
    if matrices and not any(bool(value.any()) for value in matrices):
        raise ValueError("all its weights are zero")


def _finite(value: Tensor) -> bool:
    """Whether all values are finite. The sum decides most cases, and is several times faster."""
    return bool(value.sum(dtype=torch.float32).isfinite()) or bool(value.isfinite().all())


def problem_of(path: Path) -> str:
    """Return what is wrong with the weights in a safetensors file, as a clause, or ""."""
    try:
        check_numbers(load_file(path))
    except (OSError, SafetensorError, ValueError) as exc:
        return first_line(exc)
    return ""


def problems_in(folder: Path) -> tuple[str, ...]:
    """Return what is wrong with the weights in a bundle's subfolders, as clauses by file."""
    files = sorted(folder.glob("*/*.safetensors"))
    problems = {file.relative_to(folder): problem_of(file) for file in files}
    return tuple(f"{name}: {problem}" for name, problem in problems.items() if problem)


def first_line(exc: BaseException) -> str:
    """Return the first line of an error's message, of bounded length and without a full stop."""
    return str(exc).splitlines()[0][:300].rstrip(".") if str(exc) else type(exc).__name__


def few(names: Iterable[str]) -> str:
    """Join the first names and the number of the others."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"
