"""Command line options that several commands share, each declared once with its help and environment variable."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from addsr_cli.errors import UsageError

QUALITY, SIZE, OUTPUT, MACHINE, TALK = "Quality", "Size", "Output", "Machine", "Talk"
LEAST_MEMORY = 10**6  # bytes; less is a unit that was forgotten
MODEL_FILES = (".safetensors", ".pth")
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def option(
    flag: str,
    text: str,
    panel: str,
    *more: str,
    **settings: Any,  # noqa: ANN401 (what typer.Option takes)
) -> typer.models.OptionInfo:
    """An option with its help, the panel it is shown in, and its ``ADDSR_*`` variable."""
    variable = "ADDSR_" + flag.removeprefix("--").split("/")[0].upper().replace("-", "_")
    return typer.Option(
        flag,
        *more,
        help=text,
        rich_help_panel=panel,
        envvar=variable,
        show_envvar=False,
        **settings,
    )


def model_names(incomplete: str) -> list[str]:
    """Complete ``--model``: names that addsr knows, models that are installed, folders and model files."""
    from addsr_cli.models.registry import BUNDLED
    from addsr_cli.weights import installed
    from addsr_cli.weights.components import MADE_OF

    names = {"auto", *BUNDLED, *MADE_OF, *installed.installed()}
    folder, start = os.path.split(incomplete)
    found = sorted(name for name in names if name.startswith(incomplete))
    with suppress(OSError):
        for entry in sorted(os.scandir(folder or "."), key=lambda entry: entry.name):
            if entry.name.startswith(start or (".", "_")) is bool(start):
                path = f"{folder}/{entry.name}" if folder else entry.name
                found += (
                    [f"{path}/"] if entry.is_dir() else [path] * entry.name.endswith(MODEL_FILES)
                )
    return found


def factor(text: str | float) -> float:
    """``4``, ``4x``, ``x2.5`` -> how many times larger."""
    try:
        return float(str(text).strip().lower().removeprefix("x").removesuffix("x"))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no factor. Write it as 4, 2.5 or 4x.") from None


Model = Annotated[
    str,
    option(
        "--model",
        "auto, nano, addsr, seesr, seesr-turbo, a folder, or ORG/REPO on the Hub.",
        QUALITY,
        "-m",
        autocompletion=model_names,
    ),
]
Steps = Annotated[
    int | None,
    option(
        "--steps", "Denoising steps, 1 to 4. Fewer is faster and plainer. [default: 4]", QUALITY
    ),
]
Prompt = Annotated[
    str, option("--prompt", "Words that describe the photo, for models that read text.", QUALITY)
]
NegativePrompt = Annotated[
    str | None,
    option(
        "--negative-prompt",
        "What the picture shall not look like; needs --guidance. [default: the model's]",
        QUALITY,
    ),
]
AddedPrompt = Annotated[
    str | None,
    option("--added-prompt", "Quality words after every prompt. [default: the model's]", QUALITY),
]
Tags = Annotated[
    str,
    option("--tags", 'auto reads them from the photo; none; or your own, as "cat, sofa".', QUALITY),
]
Guidance = Annotated[
    float | None,
    option(
        "--guidance",
        "Follow the words more closely above 1, at twice the time (0 to 20). [default: 1]",
        QUALITY,
    ),
]
ConditioningScale = Annotated[
    float,
    option(
        "--conditioning-scale",
        "Weight of the photo against the model's imagination, 0 to 4.",
        QUALITY,
    ),
]
Psr = Annotated[
    float | None,
    option(
        "--psr",
        "Weight of each step's picture in the next step's condition, 0 to 1. [default: 0.4]",
        QUALITY,
    ),
]
Fidelity = Annotated[
    float | None,
    option(
        "--fidelity",
        "One dial over steps, PSR and a blend with the plain enlargement: 0 invents most, 1 stays closest. "
        "[default: 0.5]",
        QUALITY,
    ),
]
StartPoint = Annotated[
    Literal["lr", "noise"],
    option("--start", "Begin from the noised photo or from noise alone.", QUALITY),
]
ColorMethod = Annotated[
    Literal["wavelet", "adain", "lab", "none"],
    option("--color", "How colours are matched to the photo.", QUALITY),
]
Seed = Annotated[int, option("--seed", "Fixes all noise: same seed, same picture.", QUALITY)]
Samples = Annotated[
    int, option("--samples", "Make this many versions, with seeds counting up.", QUALITY)
]

Scale = Annotated[
    float | None,
    option(
        "--scale",
        "Enlarge by this factor, as in 4 or 2.5x. [default: 4]",
        SIZE,
        "-s",
        parser=factor,
        metavar="<float>",
    ),
]
Width = Annotated[
    int | None, option("--width", "Output width in pixels; the aspect is kept.", SIZE)
]
Height = Annotated[
    int | None, option("--height", "Output height in pixels; the aspect is kept.", SIZE)
]
Longest = Annotated[int | None, option("--longest", "Longer output side in pixels.", SIZE)]
Shortest = Annotated[int | None, option("--shortest", "Shorter output side in pixels.", SIZE)]

Output = Annotated[
    str | None,
    option(
        "--output",
        "A file, a folder, or - for stdout; a folder for a batch. [default: beside the input]",
        OUTPUT,
        "-o",
    ),
]
Format = Annotated[
    Literal["png", "jpg", "jpeg", "webp", "tif", "tiff", "avif"] | None,
    option(
        "--format",
        "File format. [default: the input's; PNG when that cannot hold the picture]",
        OUTPUT,
        "-f",
        case_sensitive=False,
    ),
]
Quality = Annotated[int | None, option("--quality", "1 to 100, for JPEG, WebP and AVIF.", OUTPUT)]
Lossless = Annotated[bool, option("--lossless", "Lossless WebP or AVIF.", OUTPUT)]
BitDepth = Annotated[
    int | None, option("--bit-depth", "8 or 16 bits per channel. [default: the input's]", OUTPUT)
]
Name = Annotated[
    str,
    option(
        "--name",
        "File name from {stem} {scale} {ext} {model} {steps} {seed} {width} {height}.",
        OUTPUT,
    ),
]
Overwrite = Annotated[bool, option("--overwrite", "Replace existing files.", OUTPUT)]
SkipExisting = Annotated[
    bool, option("--skip-existing", "Leave inputs alone whose output is there already.", OUTPUT)
]
NoMetadata = Annotated[
    bool,
    option("--no-metadata", "Write no EXIF, XMP or settings (the colour profile stays).", OUTPUT),
]
Compare = Annotated[
    bool,
    option(
        "--compare",
        "Also write OUTPUT_compare.html: before and after, to look at in a browser.",
        OUTPUT,
    ),
]

Device = Annotated[str, option("--device", "auto, cpu, cuda, cuda:N or mps.", MACHINE)]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    option("--precision", "Number type of the network.", MACHINE),
]
Tile = Annotated[
    str, option("--tile", "auto, or the side of a tile in output pixels (before --scale).", MACHINE)
]
Overlap = Annotated[
    str, option("--overlap", "auto, or how far tiles overlap, in the same pixels.", MACHINE)
]
Offload = Annotated[
    bool | None,
    option(
        "--offload/--no-offload",
        "Keep whole pictures in main memory, tiles on the device.",
        MACHINE,
    ),
]
Compile = Annotated[
    bool, option("--compile", "Compile the network first; pays off for many photos.", MACHINE)
]
MaxMemory = Annotated[
    str | None, option("--max-memory", "Plan for no more than this, such as 2G.", MACHINE)
]

Json = Annotated[bool, option("--json", "One JSON object per result on stdout.", TALK)]
Print0 = Annotated[
    bool, option("--print0", "End each path on stdout with NUL instead of a new line.", TALK, "-0")
]
Quiet = Annotated[bool, option("--quiet", "Say nothing but errors.", TALK, "-q")]
Verbose = Annotated[bool, option("--verbose", "Say more.", TALK, "-v")]
Debug = Annotated[bool, option("--debug", "Show tracebacks.", TALK)]
DryRun = Annotated[bool, option("--dry-run", "Print the plan and write nothing.", TALK)]

Images = Annotated[
    list[Path],
    typer.Argument(
        help="Photos; - reads stdin.",
        metavar="IMAGE...",
        show_default=False,
    ),
]


def pixels(text: str, flag: str) -> int | None:
    """``auto`` -> None, ``512`` -> 512."""
    if text == "auto":
        return None
    if not text.isdecimal():
        raise UsageError(
            f"{flag} {text} is not a number of pixels.", f"Use {flag} auto or a whole number."
        )
    return int(text)


def memory(text: str | None, flag: str = "--max-memory", *, card: bool = False) -> int | None:
    """``2G``, ``500MB``, ``1.5GiB`` -> bytes; of a ``card`` G is GiB, as its makers count."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{flag} {text} is not an amount of memory.", "Write it as 2G or 500M.")
    number, unit, binary = float(match[1]), match[2].upper(), bool(match[3]) or card
    size = 1024 ** "KMGT".index(unit) * 1024 if binary and unit else UNITS[unit]
    count = int(number * size)
    if count < LEAST_MEMORY:
        example = f" as {match[1]}G or {match[1]}M" if not unit else ", such as 2G"
        raise UsageError(
            f"{flag} {text} is less than 1 MB.", f"Write the amount with its unit{example}."
        )
    return count
