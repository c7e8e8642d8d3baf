"""The record of networks that answer in one pass: ESRGAN, compact, and all that spandrel loads."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from addsr_cli.errors import ModelUnavailable
from addsr_cli.files import sha256_of
from addsr_cli.models.architecture import Architecture, Footprint, LoadOptions, ModelSpec, Network
from addsr_cli.models.bundle import RECORD, Bundle
from addsr_cli.models.single_pass.published import PUBLISHED

if TYPE_CHECKING:
    from addsr_cli.models.single_pass.measurements import Measurements
    from addsr_cli.models.single_pass.network import Enlarger

NAME = "single-pass"
SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
TILE = 1024  # pixels of the output
OVERLAP = 64  # pixels of the input, where tiles have to be blended
PICTURE_BYTES = 24  # the output in float32, and once more while it is resized
BLENDED_BYTES = 16  # the whole output in float32 and the sum of weights, where tiles are blended
WORKSPACE = 1.3  # of kernels, which is not in the tensors that were counted


def _spec(file: Path) -> ModelSpec:
    network, measured = _read(file)
    record = Bundle.read(file.parent) if (file.parent / RECORD).is_file() else None
    area = network.scale**2
    return ModelSpec(
        name=record.name if record else file.stem,
        arch=NAME,
        title=f"{network.kind} x{network.scale}, one pass",
        licence=record.licence if record else "unknown",
        footprint=Footprint(
            parameters=network.parameters,
            network=round(WORKSPACE * measured.memory / area),
            pictures=PICTURE_BYTES,
            flop=round(measured.flop / area),
            latents=BLENDED_BYTES if measured.halo is None else 0,
            by_rows=measured.halo is not None,
        ),
        reads_text=False,
        default_steps=1,
        tile=TILE,
        overlap=0 if measured.halo is not None else OVERLAP * network.scale,
        halo=None if measured.halo is None else measured.halo * network.scale,
        native_scale=network.scale,
    )


def _load(file: Path, options: LoadOptions) -> Network:
    """Load a network; in half precision only if it then gives the picture that float32 gives."""
    import torch

    from addsr_cli.models.single_pass.precision import check_precision

    network, measured = _read(file)
    network = network.tiled(measured.alignment, measured.halo)
    network.net.to(options.device)
    if options.dtype != torch.float32:
        check_precision(network, options.dtype)
    if options.compiled:
        network.net.compile()
    return cast("Network", network)


def _problems(file: Path) -> tuple[str, ...]:
    """Load the model: loading checks names, shapes and values."""
    from addsr_cli.models.single_pass.reading import read_network

    try:
        read_network(file)
    except ModelUnavailable as exc:
        return (exc.message,)
    return ()


def _read(file: Path) -> "tuple[Enlarger, Measurements]":
    from addsr_cli.models.single_pass.measurements import measurements
    from addsr_cli.models.single_pass.reading import read_network

    network = read_network(file)
    return network, measurements(network, lambda: sha256_of(file))


ARCHITECTURE = Architecture(
    name=NAME,
    spec=_spec,
    load=_load,
    problems=_problems,
    one_network=True,
    suffixes=SUFFIXES,
    published=PUBLISHED,
)
