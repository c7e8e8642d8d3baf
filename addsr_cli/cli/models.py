"""``addsr models``: list, locate, verify, download, import, share and remove models."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from addsr_cli.cli import download_report, options
from addsr_cli.cli.completion import model_names
from addsr_cli.cli.console import Console
from addsr_cli.cli.formatting import format_bytes
from addsr_cli.cli.takes_options import Only, takes_options
from addsr_cli.errors import ModelUnavailable, OutputRefused, UsageError

if TYPE_CHECKING:
    from addsr_cli.weights.download_plan import PlannedComponent
    from addsr_cli.weights.verify import Verification

app = typer.Typer(
    no_args_is_help=True,
    help="List, download, verify and remove models, with sizes and licences.",
)
ShortOutput = Annotated[Console, Only("json", "debug")]
LongOutput = Annotated[Console, Only("json", "quiet", "debug")]
Dtype = Annotated[
    Literal["fp16", "bf16", "fp32"], typer.Option(help="Data type of the converted weights.")
]
DropDownloads = Annotated[
    bool,
    typer.Option(
        "--drop-downloads", help="Delete the downloaded files once the model is converted."
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        help="A model's name, as `addsr models list` shows it.",
        show_default=False,
        autocompletion=model_names,
    ),
]


@app.command("list")
@takes_options
def list_(console: ShortOutput) -> None:
    """List the models that addsr knows and those that are installed.

    With state, size, kind and licence: diffusion at any size, or one pass at a fixed scale.
    """
    for record in model_records():
        size = format_bytes(record["bytes"]) if record["bytes"] else ""
        kind = f"{record['kind']} x{record['scale']}" if record["scale"] else record["kind"]
        name = f"{record['name']:24}{record['state']:14}"
        line = f"{name}{size:>10}  {kind:13}{record['licence']}"
        console.result(line, record)


def model_records() -> list[dict[str, Any]]:
    """Return what ``list`` prints: bundled, installed, then available models."""
    from addsr_cli.models.bundle import Bundle
    from addsr_cli.models.registry import BUNDLED
    from addsr_cli.weights import installed, loader
    from addsr_cli.weights.components import PUBLISHED

    records = []
    for name, spec in BUNDLED.items():
        file = loader.locate(name).file
        records.append(
            _record(
                name,
                "bundled",
                file,
                file.stat().st_size,
                spec.licence,
                spec.native_scale or 0,
            )
        )
    folders = installed.list_installed()
    for name, folder in folders.items():
        try:
            bundle = Bundle.read(folder)
            state, licence, scale = "installed", bundle.licence, bundle.scale
        except ModelUnavailable:
            state, licence, scale = "damaged", "unknown", 0
        records.append(
            _record(
                name,
                state,
                folder,
                installed.folder_size(folder),
                licence,
                scale,
            )
        )
    for name, model in PUBLISHED.items():
        if name not in folders:
            records.append(
                _record(
                    name,
                    "not installed",
                    None,
                    0,
                    model.licence,
                    model.scale or 0,
                )
            )
    return records


def _record(
    name: str,
    state: str,
    path: Path | None,
    size: int,
    licence: str,
    scale: int,
) -> dict[str, Any]:
    """``scale`` is that of a network that answers in one pass, else 0."""
    return {
        "name": name,
        "state": state,
        "path": str(path) if path else None,
        "bytes": size,
        "licence": licence,
        "kind": "one pass" if scale else "diffusion",
        "scale": scale or None,
    }


@app.command("path")
@takes_options
def path(name: Name, console: ShortOutput) -> None:
    """Print the path of a model."""
    from addsr_cli.weights import loader

    file = loader.locate(name).file
    location = file if file.suffix == ".safetensors" else file.parent
    console.result(str(location), {"name": name, "path": str(location)})


@app.command("verify")
@takes_options
def verify(
    console: LongOutput,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A model. Without one, everything on this computer is verified.",
            autocompletion=model_names,
        ),
    ] = None,
) -> None:
    """Read every file of a model and of its downloads, and compare digests with the record."""
    from addsr_cli.weights.verify import verify

    with console.transfer_progress() as on_progress:
        verifications = verify(name, on_progress)
    for each in verifications:
        title = f"download {each.name}" if each.kind == "download" else each.name
        console.result("\n  ".join([f"{title}: {each.state}", *each.problems]), asdict(each))
    damaged = [each for each in verifications if each.state == "damaged"]
    if damaged:
        sentences = (f"{each.name} is damaged: {', '.join(each.problems)}" for each in damaged)
        hints = dict.fromkeys(_repair_hint(each) for each in damaged)
        raise ModelUnavailable("; ".join(sentences) + ".", " ".join(hints))


def _repair_hint(damaged: "Verification") -> str:
    from addsr_cli.models.registry import BUNDLED

    if damaged.kind == "download":
        return "The next addsr models pull downloads damaged files again."
    if damaged.name in BUNDLED:
        return "Reinstall addsr."
    return f"Install it again after: addsr models rm {damaged.name}"


@app.command("rm")
@takes_options
def rm(name: Name, console: ShortOutput) -> None:
    """Delete an installed model."""
    from addsr_cli.weights import installed

    freed = installed.remove(name)
    console.result(f"{name}: removed, {format_bytes(freed)} freed", {"name": name, "freed": freed})


@app.command("pull")
@takes_options
def pull(
    name: Annotated[
        str,
        typer.Argument(
            help="A model of `addsr models list`, or ORG/REPO on the Hugging Face Hub.",
            autocompletion=model_names,
        ),
    ],
    console: LongOutput,
    dtype: Dtype = "fp16",
    drop: DropDownloads = False,
    dry_run: options.DryRun = False,
) -> None:
    """Download a model's weights, verify them, and convert them for --model."""
    from addsr_cli.weights import download_plan, installed

    if dry_run:
        download_report.print_plan(name, download_plan.plan_download(name), console)
        return
    plan = None
    if installed.find_installed(name):
        console.info(f"{name} is installed already")
    else:
        plan = download_plan.plan_download(name)
        download_report.announce(name, plan, console)
    _install(name, dtype, drop, console, plan=plan)


@app.command("import")
@takes_options
def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Archive, folder, .pth or .safetensors files, as downloaded.",
            show_default=False,
        ),
    ],
    console: LongOutput,
    name: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="Name of the model: addsr or seesr for UNet and ControlNet, any name for a "
            "one-pass network.",
            show_default="addsr, or the name of the file",
        ),
    ] = None,
    dtype: Dtype = "fp16",
    drop: DropDownloads = False,
) -> None:
    """Import weights that you downloaded yourself.

    A file of one network, such as ESRGAN's, becomes a model of its own. UNet and ControlNet become
    a model whose other parts are downloaded. RAM's checkpoint, DAPE.pth and the tag lists, as files
    or in a folder, are added to the downloads for the next pull.
    """
    from addsr_cli.weights import download_plan, manual_import
    from addsr_cli.weights.install_network import import_network

    imported = manual_import.classify_paths(paths)
    if imported.networks:
        _check_name_of_networks(name or "addsr")
    if imported.network:
        own_name = name or imported.network.stem
        folder = import_network(imported.network, own_name)
        console.result(str(folder), {"name": own_name, "path": str(folder)})
    for original in imported.originals:
        with console.transfer_progress() as on_progress:
            location = manual_import.import_original(original, on_progress)
        record = {
            "component": original.component.name,
            "file": original.spec.path,
            "path": str(location),
        }
        console.result(str(location), record)
    if imported.networks:
        name = name or "addsr"
        plan = download_plan.plan_download(name, networks_imported=True)
        download_report.announce(name, plan, console)
        _install(
            name,
            dtype,
            drop,
            console,
            student=imported.networks,
            plan=plan,
        )


def _check_name_of_networks(name: str) -> None:
    """Raise UsageError unless UNet and ControlNet can have a name, OutputRefused if it is taken."""
    from addsr_cli.weights import installed
    from addsr_cli.weights.components import PUBLISHED

    names = [model.name for model in PUBLISHED.values() if model.networks]
    if name not in names:
        raise UsageError(
            f"--as {name} is not the name of UNet and ControlNet.",
            f"Use {' or '.join(names)}.",
        )
    if installed.find_installed(name):
        raise OutputRefused(
            f"{name} is installed already.", f"Remove it first: addsr models rm {name}"
        )


def _install(
    name: str,
    dtype: str,
    drop: bool,
    console: Console,
    *,
    student: Path | None = None,
    plan: "tuple[PlannedComponent, ...] | None" = None,
) -> None:
    from addsr_cli.weights import download_plan, install
    from addsr_cli.weights.loader import DTYPES

    with console.transfer_progress() as on_progress:
        folder = install.install(
            name,
            student=student,
            plan=plan,
            dtype=DTYPES[dtype],
            on_progress=on_progress,
            on_message=console.info,
        )
    downloaded = download_plan.downloaded_bytes(name) if "/" not in name else 0
    if drop and downloaded:
        freed = format_bytes(download_plan.delete_downloads(name))
        console.info(f"{freed} of downloaded files deleted")
    elif downloaded:
        console.info(
            f"the downloaded files, {format_bytes(downloaded)}, are no longer needed: "
            "--drop-downloads deletes them"
        )
    console.result(str(folder), {"name": name, "path": str(folder)})


@app.command("push")
@takes_options
def push(
    name: Name,
    repo: Annotated[str, typer.Argument(help="Your repository on the Hub, as ORG/REPO.")],
    console: ShortOutput,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private.")
    ] = False,
) -> None:
    """Upload a model, or the folder of a training run, to your own Hub repository.

    A model card is added where there is none.
    """
    from addsr_cli.weights import push

    url = push.push(name, repo, private=private)
    console.result(url, {"name": name, "repo": repo, "url": url})
