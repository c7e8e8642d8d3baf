"""``addsr models``: which models are here, where they lie, whether they are intact; fetch, import, share, remove."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from addsr_cli.cli import options
from addsr_cli.cli.console import Console, human_bytes
from addsr_cli.errors import ModelUnavailable

if TYPE_CHECKING:
    from addsr_cli.models.components import Source
    from addsr_cli.models.install import Needed

app = typer.Typer(no_args_is_help=True, help="Models: what is here, where, how large, under which licence.")
Dtype = Annotated[Literal["fp16", "bf16", "fp32"], typer.Option(help="Number type of the converted weights.")]
Drop = Annotated[bool, typer.Option("--drop-downloads", help="Delete the fetched originals when the model is made.")]
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


@app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(help="addsr, seesr, seesr-turbo, or ORG/REPO on the Hugging Face Hub.")],
    dtype: Dtype = "fp16",
    drop: Drop = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fetch a model's weights, check them, and convert them to one folder that --model takes."""
    from addsr_cli.models import install, library

    console = Console(json=json, quiet=quiet, debug=debug)
    if dry_run and "/" not in name:
        show(name, install.needed(name), console)
        return
    if library.held(name):
        console.say(f"{name} is installed already")
    elif "/" not in name:
        announce(name, install.needed(name), console)
    _installed(name, None, dtype, drop, console)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="What the authors publish: an archive or a folder, as downloaded.")],
    name: Annotated[Literal["addsr", "seesr"], typer.Option("--as", help="Which model it is.")] = "addsr",
    dtype: Dtype = "fp16",
    drop: Drop = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Make a model of weights that you downloaded yourself; the other parts are fetched."""
    _installed(name, path, dtype, drop, Console(json=json, quiet=quiet, debug=debug))


def _installed(name: str, student: Path | None, dtype: str, drop: bool, console: Console) -> None:
    from addsr_cli.models import install
    from addsr_cli.models.loader import DTYPES

    with console.transfers() as report:
        folder = install.install(name, student=student, dtype=DTYPES[dtype], report=report, say=console.say)
    left = install.downloads(name) if "/" not in name else 0
    if drop and left:
        console.say(f"{human_bytes(install.drop_downloads(name))} of originals deleted")
    elif left:
        console.say(f"the originals, {human_bytes(left)}, are no longer needed: --drop-downloads deletes them")
    console.result(str(folder), {"name": name, "path": str(folder)})


@app.command("push")
def push(
    name: Name,
    repo: Annotated[str, typer.Argument(help="Your repository on the Hub, as ORG/REPO.")],
    private: Annotated[bool, typer.Option("--private", help="Only you can see it.")] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write an installed model, with a model card, to your own repository on the Hugging Face Hub."""
    from addsr_cli.models import share

    address = share.push(name, repo, private=private)
    Console(json=json, debug=debug).result(address, {"name": name, "repo": repo, "url": address})


def show(name: str, parts: "tuple[Needed, ...]", console: Console) -> None:
    """Every file, source, size and licence, and the total, as data."""
    for record in plan_records(name, parts):
        console.result(_line(record), record)


def plan_records(name: str, parts: "tuple[Needed, ...]") -> list[dict[str, Any]]:
    """One record per file or unavailable component, then the total."""
    rows: list[dict[str, Any]] = []
    for part in parts:
        base = {"model": name, "component": part.component.name, "licence": part.component.licence}
        if part.survey is None:  # then what is written down must do
            rows += [
                base | {"file": file.path, "source": _known(part), "size": file.size, "here": False}
                for file in part.component.files
            ]
            rows[-1]["problem"] = part.problem
            continue
        source = _address(part.survey.source, part.survey.revision)
        rows += [
            base | {"file": file.path, "source": source, "size": file.size, "here": file.here}
            for file in part.survey.files
        ]
    total = sum(row["size"] or 0 for row in rows)
    fetch = sum(row["size"] or 0 for row in rows if not row["here"])
    unknown = sum(row["size"] is None for row in rows)
    return [*rows, {"model": name, "component": "total", "size": total, "to_fetch": fetch, "unknown": unknown}]


def _known(part: "Needed") -> str:
    """The first place that a component is written down for."""
    from addsr_cli.models.components import STUDENT
    from addsr_cli.models.install import DRIVE

    sources = part.component.sources
    if not sources:
        return DRIVE if part.component.name == STUDENT.name else "no source"
    return _address(sources[0], sources[0].revision)


def _address(source: "Source", revision: str) -> str:
    return source.repo if source.kind == "url" else f"{source.repo}@{revision}"


def announce(name: str, parts: "tuple[Needed, ...]", console: Console) -> None:
    """Size and licences, before the first byte. Raises ModelUnavailable when a part that has sources cannot be had."""
    for part in parts:
        if part.problem and part.component.sources:
            raise ModelUnavailable(part.problem)
    total = plan_records(name, parts)[-1]
    licences = "; ".join(dict.fromkeys(part.component.licence for part in parts))
    least = "at least " if total["unknown"] else ""
    console.say(f"{name}: {least}{human_bytes(total['to_fetch'])} to fetch. Licences: {licences}")


def _line(record: dict[str, Any]) -> str:
    if record["component"] == "total":
        least = "at least " if record["unknown"] else ""
        return f"total {least}{human_bytes(record['size'])}, to fetch {least}{human_bytes(record['to_fetch'])}"
    size = human_bytes(record["size"]) if record["size"] is not None else "size unknown"
    here = ", here already" if record["here"] else ""
    line = f"{record['component']}/{record['file']}  {size}{here}  {record['source']}  {record['licence']}"
    return f"{line}\n  {record['problem']}" if "problem" in record else line
