"""From a model's name to a converted bundle on this computer: fetch the components, convert, put together, record."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from addsr_cli.errors import ModelUnavailable, OutputRefused, UsageError
from addsr_cli.models import hub, library
from addsr_cli.models.archive import Pair, find_pair
from addsr_cli.models.assemble import TAGGER_WEIGHTS, WEIGHTS
from addsr_cli.models.bundle import RECORD, Bundle, Words
from addsr_cli.models.components import (
    DAPE,
    MADE_OF,
    RAM,
    SD2_BASE,
    SD_TURBO,
    SEESR,
    STUDENT,
    TAGS,
    Component,
    FileSpec,
    Source,
)
from addsr_cli.models.convert import build_bundle, convert_tagger, read_weights, turbo_unet

DRIVE = "https://drive.google.com/uc?id=19IB8vIdYeF65ixIvwIjZzPPuVka4sjec"
SHORT_PROMPT = Words(added_prompt="clean, high-resolution, 8k")
RECIPES = {
    "addsr": Bundle(name="addsr", parameters=0),
    "seesr": Bundle(name="seesr", parameters=0, rule="leading", default_steps=50, guidance=5.5, words=SHORT_PROMPT),
    "seesr-turbo": Bundle(name="seesr-turbo", parameters=0, rule="trailing", default_steps=2, words=SHORT_PROMPT),
}
OWN = {"addsr": STUDENT.name, "seesr": SEESR.name}  # the component that a user may bring along
TAG_FILES = ("ram_tag_list.txt", "ram_tag_list_threshold.txt")

Report = Callable[[hub.Transfer], None]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Needed:
    """One component of a model: what fetching it would take, or why it cannot be fetched."""

    component: Component
    survey: hub.Survey | None
    problem: str = ""


def needed(name: str) -> tuple[Needed, ...]:
    """What ``install`` would fetch, asking the sources for sizes only. Raises UsageError for a name without recipe."""
    found = []
    for component in _parts(name):
        try:
            found.append(Needed(component=component, survey=hub.survey(component)))
        except ModelUnavailable as exc:
            found.append(Needed(component=component, survey=None, problem=f"{exc.message} {exc.hint}"))
    return tuple(found)


def install(
    name: str,
    *,
    student: Path | None = None,
    dtype: torch.dtype = torch.float16,
    report: Report | None = None,
    say: Say = lambda _: None,
) -> Path:
    """The bundle folder of ``addsr``, ``seesr``, ``seesr-turbo`` or ORG/REPO, made if it is not there yet.

    ``student`` is the authors' archive or folder with UNet and ControlNet, for what no source serves. Raises
    ModelUnavailable, OutputRefused and UsageError, all before anything half done is visible.
    """
    ready = library.held(name)
    if ready:
        return ready
    if "/" in name:
        return _from_hub(name, report)
    parts = [part for part in _parts(name) if student is None or part.name != OWN.get(name)]
    with _scratch() as scratch:
        if STUDENT in parts and not hub.sources(STUDENT):
            student = _from_drive(say)
            parts.remove(STUDENT)
        folders = {}
        for part in parts:
            say(f"{part.title} ({part.licence}). {part.notice}".rstrip(". ") + ".")
            folders[part.name] = hub.fetch(part, report=report)
            for note in hub.notes(part):
                say(f"warning: {note}")
        say("converting")
        return _build(name, folders, student, scratch, dtype)


def downloads(name: str) -> int:
    """Bytes of fetched originals that an installed model no longer needs."""
    return sum(library.size(hub.folder(part.name)) for part in _parts(name) if hub.folder(part.name).is_dir())


def drop_downloads(name: str) -> int:
    """Delete those originals; returns the bytes freed."""
    return sum(hub.remove(part) for part in _parts(name))


def _parts(name: str) -> tuple[Component, ...]:
    if name not in MADE_OF:
        raise UsageError(f"There is no recipe for {name!r}.", f"Use {', '.join(MADE_OF)} or ORG/REPO.")
    return MADE_OF[name]


def _build(name: str, folders: Mapping[str, Path], student: Path | None, scratch: Path, dtype: torch.dtype) -> Path:
    tags, thresholds = (folders[TAGS.name] / file for file in TAG_FILES)
    ram, dape = folders[RAM.name] / RAM.files[0].path, folders[DAPE.name] / DAPE.files[0].path
    convert_tagger(ram, dape, tags, thresholds, scratch / "tagger", dtype)
    pair, parts = _pair(name, folders, student, scratch), folders[SD2_BASE.name]
    if name == "seesr-turbo":
        parts = _turbo_parts(folders[SD_TURBO.name], parts, scratch / "parts")
    licence = "; ".join(dict.fromkeys(part.licence for part in MADE_OF[name]))
    return build_bundle(
        name=name,
        licence=licence,
        recipe=RECIPES[name],
        pair=pair,
        parts=parts,
        tagger=scratch / "tagger",
        output=library.folder_of(name),
        source={part: str(folder.name) for part, folder in folders.items()} | {"student": str(student or "")},
        dtype=dtype,
        teacher=_teacher() if name == "addsr" else None,
    )


def _pair(name: str, folders: Mapping[str, Path], student: Path | None, scratch: Path) -> Pair:
    if student is not None:
        return find_pair(student, scratch / "student")
    seesr = folders[OWN.get(name, SEESR.name)]
    if name != "seesr-turbo":
        return Pair(unet=seesr / "unet", controlnet=seesr / "controlnet")
    turbo = folders[SD_TURBO.name] / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    mixed = turbo_unet(read_weights(turbo), read_weights(seesr / "unet" / WEIGHTS))
    (scratch / "unet").mkdir()
    save_file(mixed, scratch / "unet" / WEIGHTS)
    shutil.copyfile(seesr / "unet" / "config.json", scratch / "unet" / "config.json")
    return Pair(unet=scratch / "unet", controlnet=seesr / "controlnet")


def _teacher() -> dict[str, Tensor] | None:
    """SeeSR's UNet where it lies here, to tell it from a student; None where it does not."""
    place = library.held("seesr") or hub.held(SEESR)
    return read_weights(place / "unet" / WEIGHTS) if place else None


def _turbo_parts(turbo: Path, base: Path, folder: Path) -> Path:
    """SD-Turbo's VAE and text encoder under their plain names, with Stable Diffusion 2's tokenizer."""
    plain = {"vae": WEIGHTS, "text_encoder": TAGGER_WEIGHTS}
    for part, name in plain.items():
        (folder / part).mkdir(parents=True)
        shutil.copyfile(turbo / part / "config.json", folder / part / "config.json")
        _place(turbo / part / name.replace(".safetensors", ".fp16.safetensors"), folder / part / name)
    shutil.copytree(base / "tokenizer", folder / "tokenizer")
    return folder


def _from_drive(say: Say) -> Path:
    """The authors' archive from Google Drive, through gdown; what came before a break is kept for the next time."""
    try:
        import gdown
        from gdown.exceptions import DownloadError
    except ImportError as exc:
        raise ModelUnavailable(
            f"AddSR's own weights lie on Google Drive only ({DRIVE}), and gdown is not installed.",
            'pip install "addsr[drive]", or download the file yourself and run: addsr models import FILE --as addsr',
        ) from exc
    say(f"{STUDENT.title}: from the authors' file on Google Drive. {STUDENT.notice}")
    place = hub.folder(STUDENT.name)
    place.mkdir(parents=True, exist_ok=True)
    try:
        made = gdown.download(DRIVE, str(place / "from-drive"), quiet=True, resume=True)
    except (DownloadError, OSError, RuntimeError, ValueError) as exc:
        made, reason = None, str(exc).splitlines()[0]
    else:
        reason = "it did not answer with a file"
    if not made:
        raise ModelUnavailable(
            f"AddSR's own weights could not be fetched from Google Drive: {reason}.",
            f"Download {DRIVE} in a browser and run: addsr models import FILE --as addsr",
        )
    return Path(made)


def _from_hub(name: str, report: Report | None) -> Path:
    """A whole bundle from a Hub repository, in the layout that ``push`` writes."""
    source = (Source(repo=name),)
    flat = name.replace("/", "--")
    first = Component(
        name=f"{flat}-record", title=name, sources=source, files=(FileSpec(path=RECORD),), licence="see the model card"
    )
    record = hub.fetch(first)
    files = tuple(FileSpec(path=path, sha256=digest, confidence="A") for path, digest in Bundle.read(record).files)
    whole = replace(first, name=flat, files=(*first.files, *files))
    made = hub.fetch(whole, report=report)
    output = library.folder_of(name)
    with _scratch() as scratch:
        for file in whole.files:
            (scratch / "bundle" / file.path).parent.mkdir(parents=True, exist_ok=True)
            _place(made / file.path, scratch / "bundle" / file.path)
        (scratch / "bundle").rename(output)
    hub.remove(whole)
    hub.remove(first)
    return output


def _place(source: Path, target: Path) -> None:
    """The same file under another name, without a second copy of its bytes where the disk can do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder beside the models that goes in the end."""
    try:
        library.home().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=library.home()) as name:
            yield Path(name)
    except PermissionError as exc:
        raise OutputRefused(f"{library.home()} cannot be written.", "Set ADDSR_HOME to another folder.") from exc
