"""``addsr bench``: how fast a model is here, and how good its pictures are, with the protocol beside the numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import typer

from addsr_cli.cli import options
from addsr_cli.cli.console import Console
from addsr_cli.cli.takes_options import Only, takes_options
from addsr_cli.errors import UsageError
from addsr_cli.settings import Color, Machine, Precision, SeedOption, Settings, Start

T = TypeVar("T")
W = TypeVar("W", bound=str)
SIZES = "128,256"
SPEED, QUALITY, SWEEP, REPORT = (
    "Speed",
    "Quality",
    "Sweeps: lists, of which every combination is measured",
    "Report",
)


def _list(flag: str, text: str, panel: str = SWEEP) -> typer.models.OptionInfo:
    return typer.Option(
        flag,
        help=text,
        rich_help_panel=panel,
        metavar="A,B...",
        show_default=False,
    )


@takes_options
def bench(
    machine: Annotated[Machine, Only("device", "tile", "overlap", "compile", "max_memory")],
    console: Annotated[Console, Only("json", "quiet", "verbose", "debug")],
    model: options.Model = "auto",
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights", help="The full model with random numbers: its speed, no download."
        ),
    ] = False,
    steps: Annotated[str, _list("--steps", "Numbers of steps. [default: 1,4]")] = "",
    psr: Annotated[str, _list("--psr", "PSR weights.")] = "",
    start: Annotated[str, _list("--start", "lr, noise.")] = "",
    color: Annotated[str, _list("--color", "wavelet, adain, lab, none.")] = "",
    precision: Annotated[str, _list("--precision", "auto, fp32, bf16, fp16.")] = "",
    sizes: Annotated[
        str,
        _list(
            "--sizes",
            f"Input sizes in pixels, as 128 or 640x480. [default: {SIZES} without --data]",
            SPEED,
        ),
    ] = "",
    runs: Annotated[
        int, typer.Option("--runs", help="Measured runs of each case.", rich_help_panel=SPEED)
    ] = 5,
    warmup: Annotated[
        int, typer.Option("--warmup", help="Unmeasured runs before.", rich_help_panel=SPEED)
    ] = 1,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            help="Least time of either, however many runs that takes.",
            rich_help_panel=SPEED,
        ),
    ] = 1.5,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Folder with HR/ and LR*/, or with references alone.",
            rich_help_panel=QUALITY,
        ),
    ] = None,
    lr: Annotated[
        list[str] | None,
        typer.Option("--lr", help="Only this input folder; repeatable.", rich_help_panel=QUALITY),
    ] = None,
    degradation: Annotated[
        list[str] | None,
        typer.Option(
            "--degradation",
            help="Inputs: bicubic, blind (Real-ESRGAN), mild, camera, sensor, chroma, blocks, print, "
            "or blur=2,noise=20,jpeg=50; repeatable.",
            rich_help_panel=QUALITY,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            help="Only the first N photos.",
            rich_help_panel=QUALITY,
            min=1,
        ),
    ] = None,
    crop_border: Annotated[
        int,
        typer.Option(
            "--crop-border",
            help="Pixels not measured on each side.",
            rich_help_panel=QUALITY,
            min=0,
        ),
    ] = 0,
    metrics: Annotated[
        str, _list("--metrics", "Only these. [default: all that are installed]", QUALITY)
    ] = "",
    results: Annotated[
        list[Path] | None,
        typer.Option(
            "--results",
            help="Pictures that another program made; repeatable.",
            rich_help_panel=QUALITY,
        ),
    ] = None,
    peer: Annotated[
        list[Path] | None,
        typer.Option(
            "--peer", help="A network that spandrel loads; repeatable.", rich_help_panel=QUALITY
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="Published numbers beside ours: realsr, drealsr, div2k-val, reallr200, or a .json file.",
            rich_help_panel=QUALITY,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Keep all pictures in this folder.", rich_help_panel=REPORT),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write a CSV file.", rich_help_panel=REPORT)
    ] = None,
    markdown: Annotated[
        str | None,
        typer.Option("--markdown", help="Write Markdown; - for stdout.", rich_help_panel=REPORT),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            help="Write one page with charts, tables and pictures.",
            rich_help_panel=REPORT,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    seed: SeedOption = 0,
) -> None:
    """Measure speed by stage on this machine; with --data, quality against references and beside peers."""
    from addsr_cli.bench.variants import Sweep
    from addsr_cli.cli.bench_report import deliver
    from addsr_cli.cli.bench_run import BenchOptions, Outputs, run

    outputs = Outputs(
        csv=csv,
        markdown=markdown,
        html=html,
        overwrite=overwrite,
    )
    outputs.check()
    wish = BenchOptions(
        model=None if random_weights else model,
        machine=machine,
        sweep=Sweep(
            steps=_numbers(steps, int, "--steps"),
            psr=_numbers(psr, float, "--psr"),
            start=_words(start, get_args(Start), "--start"),
            color=_words(color, get_args(Color), "--color"),
            precision=_words(precision, get_args(Precision), "--precision"),
            base=Settings(seed=seed),
        ),
        sizes=_sizes(sizes or ("" if data else SIZES)),
        runs=runs,
        warmup=warmup,
        seconds=seconds,
        data=data,
        lr=lr or (),
        degradations=degradation or (),
        limit=limit,
        border=crop_border,
        metrics=_split(metrics),
        results=results or (),
        peers=peer or (),
        preset=preset,
        save=save,
        pictures=html is not None,
    )
    deliver(run(wish, console), outputs, console)


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str, kind: Callable[[str], T], flag: str) -> list[T]:
    """``1,4`` -> numbers. Raises UsageError."""
    try:
        return [kind(word) for word in _split(text)]
    except ValueError as exc:
        raise UsageError(f"{flag} {text} is not a list of numbers.", f"Write {flag} 1,4.") from exc


def _words(text: str, known: Sequence[W], flag: str) -> list[W]:
    """``lr,noise`` -> words that are known. Raises UsageError."""
    held = {str(word): word for word in known}
    words = _split(text)
    if wrong := [word for word in words if word not in held]:
        raise UsageError(f"{flag} {wrong[0]} is unknown.", f"Use {', '.join(held)}.")
    return [held[word] for word in words]


def _sizes(text: str) -> list[tuple[int, int]]:
    """``128,640x480`` -> (width, height). Raises UsageError."""
    found = []
    for word in _split(text):
        width, _, height = word.lower().partition("x")
        if not width.isdecimal() or not (height or width).isdecimal():
            raise UsageError(
                f"--sizes {text} is not a list of sizes.", "Write --sizes 128,640x480."
            )
        found.append((int(width), int(height or width)))
    return found
