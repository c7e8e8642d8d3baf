"""Options of the command line that no library dataclass declares: files, names and messages."""

from typing import Annotated, Literal

import typer

from addsr_cli.cli import intents
from addsr_cli.cli.completion import file_names
from addsr_cli.options import MESSAGES, OUTPUT, QUALITY, Option

Images = Annotated[
    list[str],
    typer.Argument(
        help="Photos, or their URLs; - reads stdin.",
        metavar="IMAGE",
        show_default=False,
        autocompletion=file_names,
    ),
]
Model = Annotated[
    str,
    Option(
        "auto, nano, small, addsr, seesr, seesr-turbo, stablesr, stablesr-turbo, stablesr-768v, "
        "stablesr-768v-small, realesrgan-x4plus, realesrgan-x2plus, realesrgan-x4plus-anime, "
        "realesr-general-x4v3, a folder, ORG/REPO on the Hub, or a .pth or .safetensors file.",
        QUALITY,
        flags=("--model", "-m"),
    ),
]
Samples = Annotated[
    int, Option("Number of versions of each photo, with consecutive seeds.", QUALITY)
]

Intent = Annotated[
    str | None,
    Option(
        "Options for a purpose: photo, print:A3@300, web:2048, old-photo, text or avatar.",
        QUALITY,
        flags=("--for",),
        parse=intents.check,
        metavar="<intent>",
    ),
]
Like = Annotated[
    str | None,
    Option(
        "Reuse the settings embedded in a file made by addsr; explicit options override them.",
        QUALITY,
        metavar="<result>",
        variable=False,
    ),
]
Preview = Annotated[
    str | None,
    Option(
        "Upscale only a square of the photo: its side in pixels, and its middle as shares of width "
        "and height, as in 512@0.5,0.3.",
        OUTPUT,
        metavar="<side>@<x>,<y>",
    ),
]
Open = Annotated[bool, Option("Open the result in the default program for its format.", OUTPUT)]
Dpi = Annotated[
    int | None,
    Option(
        "Resolution to write into the file, in dots per inch.",
        OUTPUT,
        default="the input's",
    ),
]

FramesOption = Annotated[
    Literal["first", "all"],
    Option("Upscale only the first or all pictures of an animation or multi-page TIFF.", OUTPUT),
]

Output = Annotated[
    str | None,
    Option(
        "A file, a folder, or - for stdout; a folder for a batch.",
        OUTPUT,
        flags=("--output", "-o"),
        default="beside the input",
    ),
]
Format = Annotated[
    Literal["png", "jpg", "jpeg", "webp", "tif", "tiff", "avif", "jxl", "gif"] | None,
    Option(
        "File format.",
        OUTPUT,
        flags=("--format", "-f"),
        default="the input's; PNG when that cannot hold the picture",
        case_sensitive=False,
    ),
]
Quality = Annotated[int | None, Option("1 to 100, for JPEG, WebP, AVIF and JPEG XL.", OUTPUT)]
Lossless = Annotated[bool, Option("Lossless WebP or JPEG XL.", OUTPUT)]
BitDepth = Annotated[
    int | None,
    Option(
        "8 or 16 bits per channel.",
        OUTPUT,
        default="the input's",
    ),
]
Name = Annotated[
    str,
    Option("File name from {stem} {scale} {ext} {model} {steps} {seed} {width} {height}.", OUTPUT),
]
Overwrite = Annotated[bool, Option("Replace existing files.", OUTPUT)]
SkipExisting = Annotated[bool, Option("Skip inputs whose output already exists.", OUTPUT)]
NoMetadata = Annotated[
    bool, Option("Write no EXIF, XMP or settings (the colour profile stays).", OUTPUT)
]
Compare = Annotated[
    bool,
    Option("Also write OUTPUT_compare.html, which shows before and after in a browser.", OUTPUT),
]

Json = Annotated[bool, Option("Print one JSON object per result to stdout.", MESSAGES)]
Print0 = Annotated[
    bool,
    Option(
        "End each path on stdout with NUL instead of a newline.",
        MESSAGES,
        flags=("--print0", "-0"),
    ),
]
Quiet = Annotated[
    bool,
    Option(
        "Print only errors.",
        MESSAGES,
        flags=("--quiet", "-q"),
    ),
]
Verbose = Annotated[
    bool,
    Option(
        "Print more details.",
        MESSAGES,
        flags=("--verbose", "-v"),
    ),
]
Debug = Annotated[bool, Option("Print tracebacks of errors.", MESSAGES)]
DryRun = Annotated[bool, Option("Print the plan and write nothing.", MESSAGES)]
