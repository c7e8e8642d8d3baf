"""From a model's name to a converted bundle on this computer: fetch the components, convert, put together, record."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import constants
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from addsr_cli.errors import ModelUnavailable
from addsr_cli.files import link_or_copy, write_error
from addsr_cli.models.bundle import Bundle, PromptDefaults
from addsr_cli.models.seesr.loading import TAGGER_WEIGHTS, WEIGHTS
from addsr_cli.weights import cache, installed, sources
from addsr_cli.weights.archive import Pair, find_pair
from addsr_cli.weights.components import (
    DAPE,
    RAM,
    SD2_BASE,
    SD_TURBO,
    SEESR,
    STUDENT,
    TAGS,
    licences,
)
from addsr_cli.weights.convert import build_bundle, convert_tagger, read_weights, turbo_unet
from addsr_cli.weights.download_plan import DRIVE, OWN, Needed, made_of, needed
from addsr_cli.weights.progress import ProgressCallback, TransferProgress
from addsr_cli.weights.transfer import TRIES

SHORT_PROMPT = PromptDefaults(added_prompt="clean, high-resolution, 8k")
RECIPES = {
    "addsr": Bundle(name="addsr", parameters=0),
    "seesr": Bundle(
        name="seesr",
        parameters=0,
        scheduler="leading",
        default_steps=50,
        guidance=5.5,
        prompt_defaults=SHORT_PROMPT,
    ),
    "seesr-turbo": Bundle(
        name="seesr-turbo",
        parameters=0,
        scheduler="trailing",
        default_steps=2,
        prompt_defaults=SHORT_PROMPT,
    ),
}
HALF = ".fp16.safetensors"
TAG_FILES = ("ram_tag_list.txt", "ram_tag_list_threshold.txt")

Say = Callable[[str], None]


def install(
    name: str,
    *,
    student: Path | None = None,
    found: tuple[Needed, ...] | None = None,
    dtype: torch.dtype = torch.float16,
    report: ProgressCallback | None = None,
    say: Say = lambda _: None,
) -> Path:
    """The bundle folder of ``addsr``, ``seesr``, ``seesr-turbo`` or ORG/REPO, made if it is not there yet.

    ``student`` is the authors' archive or folder with UNet and ControlNet, for what no source
    serves; ``found`` is what ``needed`` said a moment ago. A second process waits for the first.
    Raises ModelUnavailable, OutputRefused and UsageError, all before anything half done is visible.
    """
    ready = installed.find_installed(name)
    if ready:
        return ready
    with _scratch(name, say) as scratch:
        ready = installed.find_installed(name)  # another process may have made it
        if ready:
            return ready
        if "/" in name:
            return _from_hub((found or needed(name))[0], scratch, report, say)
        parts = list(made_of(name, brought=student is not None))
        if STUDENT in parts and not sources.sources(STUDENT):
            student = _from_drive(say, report)
            parts.remove(STUDENT)
        folders, surveys = {}, {each.component.name: each.manifest for each in found or ()}
        for part in parts:
            say(f"{part.title} ({part.licence}). {part.notice}".rstrip(". ") + ".")
            folders[part.name] = sources.fetch(part, found=surveys.get(part.name), report=report)
            for note in sources.notes(part):
                say(f"warning: {note}")
        say("converting")
        return _build(name, folders, student, scratch, dtype)


def _build(
    name: str,
    folders: Mapping[str, Path],
    student: Path | None,
    scratch: Path,
    dtype: torch.dtype,
) -> Path:
    tags, thresholds = (folders[TAGS.name] / file for file in TAG_FILES)
    ram, dape = folders[RAM.name] / RAM.files[0].path, folders[DAPE.name] / DAPE.files[0].path
    convert_tagger(ram, dape, tags, thresholds, scratch / "tagger", dtype)
    pair, parts = _pair(name, folders, student, scratch), folders[SD2_BASE.name]
    known = _known(folders)
    if name == "seesr-turbo":
        parts = _turbo_parts(folders[SD_TURBO.name], parts, scratch / "parts", known)
    origins: dict[str, object] = {
        part.name: sources.origin(part) for part in made_of(name) if part.name in folders
    }
    if student is not None:
        origins[OWN[name]] = {"repo": student.name}  # no path: push publishes the record
    return build_bundle(
        name=name,
        licence=licences(made_of(name)),
        recipe=RECIPES[name],
        pair=pair,
        parts=parts,
        tagger=scratch / "tagger",
        output=installed.folder_of(name),
        source=origins,
        known=known,
        dtype=dtype,
        teacher=_teacher() if name == "addsr" else None,
    )


def _pair(
    name: str,
    folders: Mapping[str, Path],
    student: Path | None,
    scratch: Path,
) -> Pair:
    if student is not None:
        return find_pair(student, scratch / "student")
    seesr = folders[OWN.get(name, SEESR.name)]
    if name != "seesr-turbo":
        return Pair(unet=seesr / "unet", controlnet=seesr / "controlnet")
    turbo = folders[SD_TURBO.name] / "unet" / WEIGHTS.replace(".safetensors", HALF)
    mixed = turbo_unet(read_weights(turbo), read_weights(seesr / "unet" / WEIGHTS))
    (scratch / "unet").mkdir()
    save_file(mixed, scratch / "unet" / WEIGHTS)
    shutil.copyfile(seesr / "unet" / "config.json", scratch / "unet" / "config.json")
    return Pair(unet=scratch / "unet", controlnet=seesr / "controlnet")


def _known(folders: Mapping[str, Path]) -> dict[Path, str]:
    """sha256 of every fetched file, as it was found when it came."""
    records = {folder: cache.Record.read(name) for name, folder in folders.items()}
    return {
        folder / path: entry.sha256
        for folder, record in records.items()
        for path, entry in record.files.items()
    }


def _teacher() -> dict[str, Tensor] | None:
    """SeeSR's UNet where it lies here, to tell it from a student; None where it does not."""
    place = installed.find_installed("seesr") or sources.find_cached(SEESR)
    return read_weights(place / "unet" / WEIGHTS) if place else None


def _turbo_parts(
    turbo: Path,
    base: Path,
    folder: Path,
    known: dict[Path, str],
) -> Path:
    """SD-Turbo's VAE and text encoder under their plain names, with Stable Diffusion 2's tokenizer.

    What is ``known`` of digests is said for the new names too.
    """
    plain = {"vae": WEIGHTS, "text_encoder": TAGGER_WEIGHTS}
    named = {
        turbo / part / name.replace(".safetensors", HALF): f"{part}/{name}"
        for part, name in plain.items()
    }
    named |= {turbo / part / "config.json": f"{part}/config.json" for part in plain}
    named |= {path: f"tokenizer/{path.name}" for path in (base / "tokenizer").iterdir()}
    for source, name in named.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(source, folder / name)
        if source in known:
            known[folder / name] = known[source]
    return folder


def _from_drive(say: Say, report: ProgressCallback | None) -> Path:
    """The authors' archive from Google Drive, through gdown; what came before a break is kept for the next time."""
    if constants.HF_HUB_OFFLINE:
        raise ModelUnavailable(
            "AddSR's own weights are not on this computer, and offline mode is on.",
            "Unset HF_HUB_OFFLINE to fetch them.",
        )
    import gdown  # brings requests and an HTML parser, which nothing else here needs
    from gdown.exceptions import DownloadError

    say(f"{STUDENT.title}: from the authors' file on Google Drive. {STUDENT.notice}")
    place = sources.folder(STUDENT.name)
    place.mkdir(parents=True, exist_ok=True)
    expected = sum(file.about or 0 for file in STUDENT.files)

    def tell(done: int, size: int | None) -> None:
        if report:
            total = max(size or expected, done)
            report(
                TransferProgress(
                    file="AddSR's weights",
                    done=done,
                    size=size,
                    total_done=done,
                    total_size=total,
                )
            )

    try:
        made = gdown.download(
            DRIVE,
            str(place / "from-drive"),
            quiet=True,
            resume=True,
            progress=tell,
            retries=TRIES,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        )
    except (DownloadError, OSError, RuntimeError, ValueError) as exc:
        made, reason = None, str(exc).splitlines()[0].rstrip(".")
    else:
        reason = "it did not answer with a file"
    if not isinstance(made, str):
        raise ModelUnavailable(
            f"AddSR's own weights could not be fetched from Google Drive: {reason}.",
            f"Download {DRIVE} in a browser and run: addsr models import FILE --as addsr",
        )
    return Path(made)


def _from_hub(
    found: Needed,
    scratch: Path,
    report: ProgressCallback | None,
    say: Say,
) -> Path:
    """A whole bundle from a Hub repository, in the layout that ``push`` writes."""
    whole = found.component
    say(f"{whole.title} ({whole.licence}).")
    made = sources.fetch(whole, found=found.manifest, report=report)
    for file in whole.files:
        (scratch / "bundle" / file.path).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(made / file.path, scratch / "bundle" / file.path)
    output = installed.folder_of(whole.title)
    (scratch / "bundle").rename(output)
    sources.remove(whole)
    return output


@contextmanager
def _scratch(name: str, say: Say) -> Iterator[Path]:
    """The model's name held against other processes, and a folder beside the models that goes in the end."""
    try:
        with installed.making(
            name, lambda: say(f"another addsr is making {name}; waiting for it")
        ) as scratch:
            yield scratch
    except (OSError, SafetensorError) as exc:
        hint = "Free some space, or set ADDSR_HOME to another folder."
        raise write_error(installed.folder_of(name), exc, hint) from exc
