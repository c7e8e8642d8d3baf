"""The record of nano: a UNet (``nano``) and dense residual blocks (``small``), trained here."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.architecture import Architecture, Footprint, LoadOptions, ModelSpec

if TYPE_CHECKING:
    from addsr_cli.models.restorer import Restorer

NANO = ModelSpec(
    name="nano",
    arch="nano",
    title="small model trained by this project, bundled with the package",
    licence="Apache-2.0",
    footprint=Footprint(
        parameters=1_512_016,
        network=160,
        pictures=120,
        flop=38_900,
    ),
    reads_text=False,
    tile=1024,
    overlap=0,
    halo=112,
)
SMALL = ModelSpec(
    name="small",
    arch="nano",
    title="sharper and slower model trained by this project, bundled with the package",
    licence="Apache-2.0 and BSD-3-Clause",
    footprint=Footprint(
        parameters=5_328_067,
        network=420,
        pictures=120,
        flop=805_000,
    ),
    reads_text=False,
    default_steps=1,
    tile=1024,
    overlap=0,
    halo=160,
)


def _spec(file: Path) -> ModelSpec:
    from addsr_cli.models.nano.restorer import is_dense

    return SMALL if is_dense(file) else NANO


def _load(file: Path, options: LoadOptions) -> "Restorer":
    from addsr_cli.models.nano.restorer import load_nano

    nano = load_nano(file)
    nano.net.eval().requires_grad_(False)
    nano.net.to(device=options.device, dtype=options.dtype)
    if options.compiled:
        nano.net.compile()
    return cast("Restorer", nano)


def _problems(file: Path) -> tuple[str, ...]:
    """Load the model: loading checks names, shapes and values."""
    from addsr_cli.models.nano.restorer import load_nano

    try:
        load_nano(file)
    except ModelUnavailable as exc:
        return (exc.message,)
    return ()


ARCHITECTURE = Architecture(
    name="nano",
    spec=_spec,
    load=_load,
    problems=_problems,
    one_network=True,
    bundled=(NANO, SMALL),
)
