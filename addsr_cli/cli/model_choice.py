"""Which model runs: what ``--model`` names is fetched when it is not here yet, and ``auto`` decides and says why."""

from pathlib import Path

from addsr_cli.cli.console import Console
from addsr_cli.errors import ModelUnavailable, OutputRefused

FULL = "addsr"


def chosen(
    model: str,
    device: str,
    console: Console,
    *,
    fetch: bool,
) -> str:
    """The name to load. ``fetch`` allows downloads; a model named by the user is never replaced by another."""
    from addsr_cli import hardware
    from addsr_cli.weights.components import MADE_OF

    if model == "auto" and hardware.probe(device).kind != "cpu":
        return _best(console, fetch=fetch)
    if fetch and (model in MADE_OF or _on_the_hub(model)):
        _ensure(model, console)
    return model


def _best(console: Console, *, fetch: bool) -> str:
    """Return the full model, or a bundled one when the full one cannot be had, and say why."""
    from addsr_cli.models.registry import FALLBACK
    from addsr_cli.weights import installed

    if installed.find_installed(FULL) is None and not fetch:
        console.info(
            f"auto: {FULL} would be fetched first; `addsr models pull {FULL} --dry-run` says what"
        )
        return FALLBACK
    try:
        _ensure(FULL, console)
    except (ModelUnavailable, OutputRefused) as exc:
        console.info(f"auto takes {FALLBACK}, since {FULL} cannot be had: {exc.message} {exc.hint}")
        return FALLBACK
    return FULL


def _ensure(name: str, console: Console) -> None:
    from addsr_cli.cli.download_report import announce
    from addsr_cli.weights import download_plan, install, installed

    if installed.find_installed(name):
        return
    found = download_plan.needed(name)
    announce(name, found, console)
    with console.transfer_progress() as report:
        install.install(
            name,
            found=found,
            report=report,
            say=console.info,
        )


def _on_the_hub(name: str) -> bool:
    """Whether it reads like ORG/REPO and is no folder here."""
    from addsr_cli.weights.loader import MODEL_NAME

    return "/" in name and bool(MODEL_NAME.fullmatch(name)) and not Path(name).exists()
