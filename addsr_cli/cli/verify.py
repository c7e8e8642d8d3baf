"""``addsr verify``: whether a file came from a photo and the settings that are embedded in it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addsr_cli.cli import options
from addsr_cli.cli.console import Console
from addsr_cli.cli.escape import printable
from addsr_cli.cli.exit_codes import NOT_REPRODUCED
from addsr_cli.cli.takes_options import Only, takes_options
from addsr_cli.errors import UsageError
from addsr_cli.settings import DeviceOption

if TYPE_CHECKING:
    from addsr_cli.engine.provenance import Provenance

ResultFile = Annotated[
    Path, typer.Argument(help="A file that addsr made.", metavar="RESULT", show_default=False)
]
InputFile = Annotated[
    Path,
    typer.Argument(
        help="The photo that it is said to come from.", metavar="INPUT", show_default=False
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        "--protect",
        help="The mask that RESULT was made with; only its digest is in the file.",
        metavar="<mask>",
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance",
        help="Accept pixels that differ by this many of 255 levels, as in files from another "
        "machine.",
    ),
]


@takes_options
def verify(
    result: ResultFile,
    photo: InputFile,
    console: Annotated[Console, Only("json", "quiet", "debug")],
    model: options.Model = "auto",
    device: DeviceOption = "auto",
    tolerance: Tolerance = 0.0,
    protect: Mask = None,
) -> None:
    """Upscale the photo again and say whether RESULT came from it and its settings.

    Exit code 0 means yes, 8 no. --model names the weights where they have no name of their own.
    """
    from addsr_cli.engine.provenance import read_provenance

    origin = _with_mask(read_provenance(result), result, protect)
    if not 0 <= tolerance <= 255:
        raise UsageError(f"--tolerance must be from 0 to 255, not {tolerance}.")
    verdict = _verdict(origin, result, photo, (model, device), tolerance)
    record = {
        "result": str(result),
        "input": str(photo),
        "status": "verified" if verdict.holds else "refuted",
        "same_bytes": verdict.same_bytes,
        "largest_difference": verdict.difference,
        "reason": verdict.reason,
    }
    answer = "yes" if verdict.holds else "no"
    console.result(f"{printable(str(result))}: {answer}, {verdict.reason}", record)
    if not verdict.holds:
        raise typer.Exit(NOT_REPRODUCED)


def _with_mask(origin: "Provenance", result: Path, mask: Path | None) -> "Provenance":
    """Return the origin with the path of its mask. Raises UsageError where one is missing."""
    if origin.mask_sha256 and mask is None:
        raise UsageError(
            f"{result} was protected by a mask, which is not in it.",
            "Add --protect MASK with its path.",
        )
    if not origin.mask_sha256 or mask is None:
        return origin
    return replace(origin, options=origin.options | {"protect": str(mask)})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a file is what its origin makes of a photo, and why.

    ``difference`` is the largest of any sample, in 1/255; None where nothing was compared.
    """

    holds: bool
    reason: str
    same_bytes: bool = False
    difference: float | None = None


def _verdict(
    origin: "Provenance",
    result: Path,
    photo: Path,
    machine: tuple[str, str],
    tolerance: float,
) -> Verdict:
    from addsr_cli import imageio
    from addsr_cli.engine.provenance import digest_of

    pixels = imageio.read(photo, origin.write_options.frames)
    if digest_of(pixels) != origin.input_sha256:
        return Verdict(holds=False, reason="it was made from a picture with other pixels")
    if origin.mask_sha256 and digest_of(_mask(origin)) != origin.mask_sha256:
        return Verdict(holds=False, reason="it was protected by a mask with other pixels")
    data = _repeated(origin, photo, pixels, *machine)
    if data == result.read_bytes():
        return Verdict(
            holds=True,
            reason=f"the same bytes come from {printable(str(photo))} and its settings",
            same_bytes=True,
            difference=0.0,
        )
    difference = _largest_difference(imageio.read(data), imageio.read(result))
    if difference is None:
        return Verdict(
            holds=False, reason="its size or its channels differ from what the settings give here"
        )
    difference = round(difference, 4)
    if difference == 0:
        reason = "the same pixels; only the metadata or the encoding of the file were changed"
        return Verdict(holds=True, reason=reason, difference=difference)
    reason = f"its pixels differ by up to {difference:g} of 255 from what the settings give here"
    return Verdict(holds=difference <= tolerance, reason=reason, difference=difference)


def _mask(origin: "Provenance") -> Any:  # noqa: ANN401 (a Photo)
    from addsr_cli import imageio

    return imageio.read(Path(origin.options["protect"]))


def _repeated(
    origin: "Provenance",
    source: Path,
    photo: Any,  # noqa: ANN401 (a Photo, whose import waits until it is needed)
    model: str,
    device: str,
) -> bytes:
    """Return the bytes of the file that the origin makes. Raises ModelUnavailable."""
    from addsr_cli import imageio
    from addsr_cli.cli.model_choice import check_weights
    from addsr_cli.engine.job import Job
    from addsr_cli.engine.upscaler import Upscaler

    machine = replace(origin.machine, device=device)
    upscaler = Upscaler(origin.model if model == "auto" else model, machine)
    check_weights(origin, upscaler)
    header = imageio.read_header(source)
    settings = origin.settings
    job = Job(
        source=source,
        label=str(source),
        header=header,
        size=settings.output_size(*header.size),
        output=None,
        settings=settings,
        options=origin.write_options,
    )
    again = upscaler.upscale(photo, settings, bit_depth=job.sample_layout[1])
    return imageio.encode(again.photo, job.options, again.provenance(job.options))


def _largest_difference(first: Any, second: Any) -> float | None:  # noqa: ANN401 (two photos)
    """Return the largest difference of samples in 1/255; None for other shapes."""
    import numpy as np

    from addsr_cli.imageio.photo import as_float, bands

    if first.samples.shape != second.samples.shape:
        return None
    return max(
        float(np.abs(as_float(first.samples[rows]) - as_float(second.samples[rows])).max()) * 255
        for rows in bands(first.height, first.width)
    )
