"""``addsr compare``: one HTML file that compares pictures of a scene."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from addsr_cli.cli import options
from addsr_cli.cli.console import Console
from addsr_cli.cli.escape import printable
from addsr_cli.cli.formatting import format_bytes
from addsr_cli.cli.takes_options import Only, takes_options
from addsr_cli.errors import UsageError

if TYPE_CHECKING:
    from addsr_cli.report import Embedding, Picture

PAGES = (".html", ".htm")
Images = Annotated[
    list[Path],
    typer.Argument(
        help="Two to eight pictures of one scene.",
        metavar="PICTURE",
        show_default=False,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The page, or its folder. [default: A_compare.html beside A]",
    ),
]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", help="Name of a picture, in their order. [default: file names]"),
]
Title = Annotated[
    str | None, typer.Option("--title", help="Title of the page. [default: the labels]")
]
Quality = Annotated[
    int, typer.Option("--quality", help="1 to 100, for pictures of more than 512x512 pixels.")
]
MaxSide = Annotated[
    int, typer.Option("--max-side", help="Reduce larger pictures to this longest side in pixels.")
]


@takes_options
def compare(
    images: Images,
    console: Annotated[Console, Only("json", "quiet", "debug")],
    output: Output = None,
    label: Label = None,
    title: Title = None,
    quality: Quality = 95,
    max_side: MaxSide = 8192,
    overwrite: options.Overwrite = False,
) -> None:
    """Write an HTML page that compares pictures: divider, zoom, side by side, difference."""
    from addsr_cli import imageio
    from addsr_cli.report import Embedding, Picture, check_count

    check_count(len(images))
    labels = _labels(images, label or [])
    page = _page_path(images[0], output)
    embedding = Embedding(quality=quality, max_side=max_side)
    imageio.check_target(page, overwrite=overwrite)
    photos = [imageio.read(image) for image in images]
    for image, photo in zip(images, photos, strict=True):
        for note in photo.warnings:
            console.warn(f"{printable(str(image))}: {note}")
        if max(photo.size) > max_side:
            console.warn(
                f"{printable(str(image))}: reduced to {max_side} px in the page; "
                "--max-side changes that"
            )
    pictures = [
        Picture(photo=photo, label=text) for photo, text in zip(photos, labels, strict=True)
    ]
    size = write_page(
        page,
        pictures,
        title or _title(labels),
        embedding,
        overwrite=overwrite,
    )
    console.info(
        f"{len(images)} pictures -> {printable(str(page))}: {format_bytes(size)}, "
        "opens in any browser"
    )
    shown = [
        {"input": str(image), "label": text, "size": list(photo.size)}
        for image, text, photo in zip(images, labels, photos, strict=True)
    ]
    console.result(
        str(page),
        {"output": str(page), "status": "ok", "bytes": size, "pictures": shown},
        already_shown=True,
    )


def write_page(
    path: Path,
    pictures: "Sequence[Picture]",
    title: str,
    embedding: "Embedding | None" = None,
    *,
    overwrite: bool,
) -> int:
    """Write the page atomically and return its size in bytes. Raises UsageError, OutputRefused."""
    from addsr_cli import imageio
    from addsr_cli.report import compare_page

    text = compare_page(pictures, title, embedding)
    access = imageio.common_access(picture.photo.access for picture in pictures)
    return imageio.write_bytes(
        path,
        text.encode("utf-8", "replace"),
        overwrite=overwrite,
        access=access,
    )


def _labels(images: Sequence[Path], labels: Sequence[str]) -> list[str]:
    """The labels of the user, then file names, with their folders where two are equal."""
    if len(labels) > len(images):
        raise UsageError(
            f"There are {len(labels)} labels for {len(images)} pictures.",
            "Give one --label per picture.",
        )
    names = [image.name for image in images]
    own = [str(image) if names.count(image.name) > 1 else image.name for image in images]
    return [*labels, *own[len(labels) :]]


def _title(labels: Sequence[str]) -> str:
    return " / ".join(labels) if len(labels) <= 3 else f"{labels[0]} and {len(labels) - 1} more"


def _page_path(first: Path, output: str | None) -> Path:
    from addsr_cli.cli.jobs import compare_path

    if output is None:
        return compare_path(first)
    if output.endswith(("/", "\\")) or Path(output).is_dir():
        return Path(output) / compare_path(first).name
    if Path(output).suffix.lower() not in PAGES:
        raise UsageError(
            f"-o {output} is not the name of an HTML page.",
            "End it with .html, or a folder with /.",
        )
    return Path(output)
