"""``addsr models``: which models are here, where they lie, whether they are intact; fetch, import, share, remove."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from addsr_cli.cli import download_report, options
from addsr_cli.cli.console import Console
from addsr_cli.cli.formatting import format_bytes
from addsr_cli.cli.takes_options import takes_options
from addsr_cli.errors import ModelUnavailable, OutputRefused

if TYPE_CHECKING:
    from addsr_cli.weights.download_plan import Needed
    from addsr_cli.weights.verify import Checked

app = typer.Typer(
    no_args_is_help=True, help="Models: what is here, where, how large, under which licence."
)
Dtype = Annotated[
    Literal["fp16", "bf16", "fp32"], typer.Option(help="Number type of the converted weights.")
]
Drop = Annotated[
    bool,
    typer.Option("--drop-downloads", help="Delete the fetched originals when the model is made."),
]
Name = Annotated[
    str, typer.Argument(help="A model's name, as `addsr models list` shows it.", show_default=False)
]


@app.command("list")
@takes_options
def list_(json: options.Json = False, debug: options.Debug = False) -> None:
    """Every model addsr knows and every one that is installed: state, size, licence."""
    console = Console(json=json, debug=debug)
    for record in survey():
        size = format_bytes(record["bytes"]) if record["bytes"] else ""
        console.result(
            f"{record['name']:16}{record['state']:14}{size:>10}  {record['licence']}", record
        )


def survey() -> list[dict[str, Any]]:
    """What ``list`` prints, as data."""
    from addsr_cli.models.bundle import Bundle
    from addsr_cli.models.registry import BUNDLED
    from addsr_cli.weights import installed, loader
    from addsr_cli.weights.components import MADE_OF, licences

    rows = []
    for name, spec in BUNDLED.items():
        file = loader.locate(name).file
        rows.append(_row(name, "bundled", file, file.stat().st_size, spec.licence))
    here = installed.installed()
    for name, folder in here.items():
        try:
            state, licence = "installed", Bundle.read(folder).licence
        except ModelUnavailable:
            state, licence = "damaged", "unknown"
        rows.append(_row(name, state, folder, installed.size(folder), licence))
    for name, components in MADE_OF.items():
        if name not in here:
            rows.append(_row(name, "not installed", None, 0, licences(components)))
    return rows


def _row(
    name: str,
    state: str,
    path: Path | None,
    size: int,
    licence: str,
) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "path": str(path) if path else None,
        "bytes": size,
        "licence": licence,
    }


@app.command("path")
@takes_options
def path(name: Name, json: options.Json = False, debug: options.Debug = False) -> None:
    """Print where a model lies."""
    from addsr_cli.weights import loader

    file = loader.locate(name).file
    place = file if file.suffix == ".safetensors" else file.parent
    Console(json=json, debug=debug).result(str(place), {"name": name, "path": str(place)})


@app.command("verify")
@takes_options
def verify(
    name: Annotated[
        str | None, typer.Argument(help="A model; without one, everything that lies here.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Read every file of a model, and of the originals it was made of, and compare it with what was recorded."""
    from addsr_cli.weights import verify

    console = Console(
        json=json,
        quiet=quiet,
        debug=debug,
    )
    with console.transfer_progress() as report:
        found = verify.verify_all(name, report)
    for each in found:
        what = f"download {each.name}" if each.kind == "download" else each.name
        console.result("\n  ".join([f"{what}: {each.state}", *each.problems]), asdict(each))
    damaged = [each for each in found if each.state == "damaged"]
    if damaged:
        raise ModelUnavailable(
            "; ".join(f"{each.name} is damaged: {', '.join(each.problems)}" for each in damaged)
            + ".",
            " ".join(dict.fromkeys(map(_mending, damaged))),
        )


def _mending(damaged: "Checked") -> str:
    if damaged.kind == "download":
        return "The next addsr models pull fetches damaged downloads anew."
    from addsr_cli.models.registry import BUNDLED

    return (
        "Reinstall addsr."
        if damaged.name in BUNDLED
        else f"Install it again after: addsr models rm {damaged.name}"
    )


@app.command("rm")
@takes_options
def rm(name: Name, json: options.Json = False, debug: options.Debug = False) -> None:
    """Delete an installed model."""
    from addsr_cli.weights import installed

    freed = installed.remove(name)
    record = {"name": name, "freed": freed}
    Console(json=json, debug=debug).result(f"{name}: removed, {format_bytes(freed)} freed", record)


@app.command("pull")
@takes_options
def pull(
    name: Annotated[
        str, typer.Argument(help="addsr, seesr, seesr-turbo, or ORG/REPO on the Hugging Face Hub.")
    ],
    dtype: Dtype = "fp16",
    drop: Drop = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fetch a model's weights, check them, and convert them to one folder that --model takes."""
    from addsr_cli.weights import download_plan, installed

    console = Console(
        json=json,
        quiet=quiet,
        debug=debug,
    )
    if dry_run:
        download_report.show(name, download_plan.needed(name), console)
        return
    found = None
    if installed.find_installed(name):
        console.info(f"{name} is installed already")
    else:
        found = download_plan.needed(name)
        download_report.announce(name, found, console)
    _installed(name, dtype, drop, console, found=found)


@app.command("import")
@takes_options
def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Archive, folder or .pth files, as downloaded.",
            show_default=False,
        ),
    ],
    name: Annotated[
        Literal["addsr", "seesr"], typer.Option("--as", help="Which model UNet and ControlNet are.")
    ] = ("addsr"),
    dtype: Dtype = "fp16",
    drop: Drop = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Take weights that you downloaded yourself: UNet and ControlNet become a model, whose other parts are fetched.

    RAM's checkpoint, DAPE.pth and the tag lists, as files or in a folder, are kept for the next
    pull.
    """
    from addsr_cli.weights import download_plan, installed, manual_import

    console = Console(
        json=json,
        quiet=quiet,
        debug=debug,
    )
    brought = manual_import.sorted_out(paths)
    if brought.student and installed.find_installed(name):
        raise OutputRefused(
            f"{name} is installed already.", f"Remove it first: addsr models rm {name}"
        )
    for each in brought.originals:
        with console.transfer_progress() as report:
            place = manual_import.adopt(each, report)
        console.result(
            str(place),
            {"component": each.component.name, "file": each.spec.path, "path": str(place)},
        )
    if brought.student:
        found = download_plan.needed(name, brought=True)
        download_report.announce(name, found, console)
        _installed(
            name,
            dtype,
            drop,
            console,
            student=brought.student,
            found=found,
        )


def _installed(
    name: str,
    dtype: str,
    drop: bool,
    console: Console,
    *,
    student: Path | None = None,
    found: "tuple[Needed, ...] | None" = None,
) -> None:
    from addsr_cli.weights import download_plan, install
    from addsr_cli.weights.loader import DTYPES

    with console.transfer_progress() as report:
        folder = install.install(
            name,
            student=student,
            found=found,
            dtype=DTYPES[dtype],
            report=report,
            say=console.info,
        )
    left = download_plan.downloads(name) if "/" not in name else 0
    if drop and left:
        console.info(f"{format_bytes(download_plan.drop_downloads(name))} of originals deleted")
    elif left:
        console.info(
            f"the originals, {format_bytes(left)}, are no longer needed: --drop-downloads deletes them"
        )
    console.result(str(folder), {"name": name, "path": str(folder)})


@app.command("push")
@takes_options
def push(
    name: Name,
    repo: Annotated[str, typer.Argument(help="Your repository on the Hub, as ORG/REPO.")],
    private: Annotated[bool, typer.Option("--private", help="Only you can see it.")] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write an installed model, or the folder of a training run, with a model card to your own Hub repository."""
    from addsr_cli.weights import push

    address = push.push(name, repo, private=private)
    Console(json=json, debug=debug).result(address, {"name": name, "repo": repo, "url": address})
