"""Which model runs: downloads what ``--model`` names, and decides what ``auto`` means."""

from pathlib import Path
from typing import TYPE_CHECKING

from addsr_cli.cli.console import Console
from addsr_cli.errors import ModelUnavailable, OutputRefused

if TYPE_CHECKING:
    from addsr_cli.engine.provenance import Provenance
    from addsr_cli.engine.upscaler import Upscaler
    from addsr_cli.weights.loader import Located

FULL = "addsr"


def choose_model(
    model: str,
    device: str,
    console: Console,
    *,
    download: bool,
    pixels: int | None = None,
) -> "Located":
    """Return the model to load; one that the user named is never replaced.

    With ``download``, a model that is not installed is downloaded first. ``pixels`` is the size of
    the largest result, by which ``auto`` takes one of the bundled models; None where it is not
    known. Raises ModelUnavailable and OutputRefused.
    """
    from addsr_cli import hardware
    from addsr_cli.weights.components import MODEL_COMPONENTS
    from addsr_cli.weights.loader import locate

    if model == "auto" and hardware.probe(device).kind != "cpu":
        model = _choose_for_gpu(console, pixels, download=download)
    elif download and (model in MODEL_COMPONENTS or _is_hub_name(model)):
        _ensure_installed(model, console)
    return locate(model, pixels)


def check_like(
    like: str | None,
    model: str,
    upscaler: "Upscaler",
) -> None:
    """Refuse other weights than those of the file of ``--like``, unless the user named a model.

    Raises ModelUnavailable.
    """
    if like is None:
        return
    from addsr_cli.engine.provenance import read_provenance

    origin = read_provenance(Path(like))
    if model == origin.model:
        check_weights(origin, upscaler)


def check_weights(origin: "Provenance", upscaler: "Upscaler") -> None:
    """Raise ModelUnavailable unless the weights are those that a result was made with."""
    digest = upscaler.digest()
    if digest != origin.model_sha256:
        raise ModelUnavailable(
            f"The file was made with {origin.model} {origin.model_sha256[:12]}, and "
            f"{upscaler.spec.name} here is {digest[:12]}.",
            "Give --model the folder or file of those weights.",
        )


def _choose_for_gpu(console: Console, pixels: int | None, *, download: bool) -> str:
    """Return the full model, or a bundled one if the full one is not available."""
    from addsr_cli.models.registry import bundled_for
    from addsr_cli.weights import installed

    if installed.find_installed(FULL) is None and not download:
        console.info(
            f"auto: {FULL} would be downloaded first; "
            f"`addsr models pull {FULL} --dry-run` lists the files"
        )
        return "auto"
    try:
        _ensure_installed(FULL, console)
    except (ModelUnavailable, OutputRefused) as exc:
        console.info(
            f"auto uses {bundled_for(pixels)}, since {FULL} is not available: "
            f"{exc.message} {exc.hint}"
        )
        return "auto"
    return FULL


def _ensure_installed(name: str, console: Console) -> None:
    from addsr_cli.cli.download_report import announce
    from addsr_cli.weights import download_plan, install, installed

    if installed.find_installed(name):
        return
    plan = download_plan.plan_download(name)
    announce(name, plan, console)
    with console.transfer_progress() as on_progress:
        install.install(
            name,
            plan=plan,
            on_progress=on_progress,
            on_message=console.info,
        )


def _is_hub_name(name: str) -> bool:
    """Whether a name reads like ORG/REPO and is not a path on this computer."""
    from addsr_cli.models.registry import architecture_of_file
    from addsr_cli.weights.loader import MODEL_NAME

    if Path(name).exists() or architecture_of_file(Path(name).suffix):
        return False
    return "/" in name and bool(MODEL_NAME.fullmatch(name))
