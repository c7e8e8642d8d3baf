"""Tensors of other people's checkpoints; pickles are read here only, and never run code."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from addsr_cli.errors import ModelUnavailable

HEAD = 1 << 10
WEB_PAGES = (b"<!doctype html", b"<html")
DOWNLOAD_AGAIN = "Download it again."
AUTHORS_FILE = "Take the authors' own file."
ENTRIES = ("model", "state_dict")  # under which trainers keep the weights


class Inert:
    """Stands in for a class that a checkpoint names but whose contents nobody needs.

    It has no code of its own, so that unpickling one does nothing.
    """


# Lightning's checkpoints name it as the key of a dictionary.
HARMLESS = (Inert, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint")


def first_bytes(path: Path) -> bytes:
    """Return the beginning of a file.

    Raises ModelUnavailable when it cannot be read, is empty, or is a web page.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as exc:
        raise ModelUnavailable(
            f"{path} cannot be read: {exc.strerror}.", "Check the path."
        ) from exc
    if not head:
        raise ModelUnavailable(f"{path} is empty.", DOWNLOAD_AGAIN)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(WEB_PAGES):
        raise ModelUnavailable(
            f"{path} is a web page, not weights: the host sent a notice "
            "(quota, sign-in or virus scan).",
            "Open the link in a browser, confirm the download, and give the file you get.",
        )
    return head


def read_weights(path: Path, entries: Sequence[str] = ENTRIES) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or PyTorch checkpoint, memory-mapped.

    Of a checkpoint with one of ``entries``, return the first of these. Raises ModelUnavailable for
    a file that is damaged, contains more than tensors, or would run code.
    """
    first_bytes(path)
    try:
        raw = load_file(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except (SafetensorError, RuntimeError, EOFError, OSError, LookupError, ValueError) as exc:
        reason = (str(exc).splitlines() or ["it ends too early"])[0].rstrip(".")
        raise ModelUnavailable(
            f"{path} is damaged or holds no weights: {reason}.", DOWNLOAD_AGAIN
        ) from exc
    if isinstance(raw, Mapping):
        wrapped = (raw[name] for name in entries if isinstance(raw.get(name), Mapping))
        raw = next(wrapped, raw)
    if not isinstance(raw, Mapping) or not raw:
        raise _not_weights(path)
    if not all(isinstance(value, Tensor) for value in raw.values()):
        raise _not_weights(path)
    return dict(raw)


def _not_weights(path: Path) -> ModelUnavailable:
    return ModelUnavailable(f"{path} does not hold named weights.", AUTHORS_FILE)


def _load_pickle(path: Path) -> object:
    """Load a PyTorch checkpoint of plain values. Raises ModelUnavailable if it would run code."""
    mapped = zipfile.is_zipfile(path)  # bare pickles, of torch before 1.6, cannot be mapped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old storage formats
            with torch.serialization.safe_globals([HARMLESS]):
                return torch.load(
                    path,
                    map_location="cpu",
                    weights_only=True,
                    mmap=mapped,
                )
    except pickle.UnpicklingError as exc:
        names = _code_names(path, str(exc))
        if not names:
            raise ModelUnavailable(
                f"{path} is not a PyTorch checkpoint, or is damaged.", DOWNLOAD_AGAIN
            ) from exc
        raise ModelUnavailable(
            f"{path} holds more than weights: loading it would run {', '.join(names)}.",
            f"Do not load it with anything else. {AUTHORS_FILE}",
        ) from exc


def _code_names(path: Path, error: str) -> list[str]:
    """Return the functions and classes that a pickle asks for."""
    # torch cannot list those of bare pickles, whose error message names the first.
    with suppress(pickle.UnpicklingError, RuntimeError, ValueError):
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        if names:
            return names
    return re.findall(r"GLOBAL ([\w.]+)", error)
