"""``addsr models``: which models are here, where they lie, whether they are intact; remove them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from addsr_cli.cli import options
from addsr_cli.cli.console import Console, human_bytes
from addsr_cli.errors import ModelUnavailable

app = typer.Typer(no_args_is_help=True, help="Models: what is here, where, how large, under which licence.")
Name = Annotated[str, typer.Argument(help="A model's name, as `addsr models list` shows it.", show_default=False)]


@app.command("list")
def list_(json: options.Json = False, debug: options.Debug = False) -> None:
    """Every model addsr knows and every one that is installed: state, size, licence."""
    console = Console(json=json, debug=debug)
    for record in survey():
        size = human_bytes(record["bytes"]) if record["bytes"] else ""
        console.result(f"{record['name']:16}{record['state']:14}{size:>10}  {record['licence']}", record)


def survey() -> list[dict[str, Any]]:
    """What ``list`` prints, as data."""
    from addsr_cli.models import library, loader
    from addsr_cli.models.bundle import Bundle
    from addsr_cli.models.components import MADE_OF
    from addsr_cli.models.registry import NANO

    bundled = loader.locate("nano").file
    rows = [_row("nano", "bundled", bundled, bundled.stat().st_size, NANO.licence)]
    here = library.installed()
    for name, folder in here.items():
        rows.append(_row(name, "installed", folder, library.size(folder), Bundle.read(folder).licence))
    for name, parts in MADE_OF.items():
        if name not in here:
            rows.append(_row(name, "not installed", None, 0, ", ".join(dict.fromkeys(p.licence for p in parts))))
    return rows


def _row(name: str, state: str, path: Path | None, size: int, licence: str) -> dict[str, Any]:
    return {"name": name, "state": state, "path": str(path) if path else None, "bytes": size, "licence": licence}


@app.command("path")
def path(name: Name, json: options.Json = False, debug: options.Debug = False) -> None:
    """Print where a model lies."""
    from addsr_cli.models import loader

    file = loader.locate(name).file
    place = file if file.suffix == ".safetensors" else file.parent
    Console(json=json, debug=debug).result(str(place), {"name": name, "path": str(place)})


@app.command("verify")
def verify(name: Name, json: options.Json = False, debug: options.Debug = False) -> None:
    """Read every file of a model again and compare it with what was recorded when it was installed."""
    from addsr_cli.models import library, loader

    console = Console(json=json, debug=debug)
    located = loader.locate(name)
    found = library.problems(located.file.parent) if located.spec.arch == loader.SEESR else ()
    state = "intact" if not found else "damaged"
    console.result(f"{name}: {state}", {"name": name, "state": state, "problems": list(found)})
    if found:
        raise ModelUnavailable(
            f"{name} is damaged: {'; '.join(found)}.", f"Install it again after: addsr models rm {name}"
        )


@app.command("rm")
def rm(name: Name, json: options.Json = False, debug: options.Debug = False) -> None:
    """Delete an installed model."""
    from addsr_cli.models import library

    freed = library.remove(name)
    record = {"name": name, "freed": freed}
    Console(json=json, debug=debug).result(f"{name}: removed, {human_bytes(freed)} freed", record)
