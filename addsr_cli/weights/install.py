"""From a model's name to a converted bundle on this computer: download, convert, put together."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from addsr_cli.files import link_or_copy, write_error
from addsr_cli.models.checkpoint_reader import read_weights
from addsr_cli.models.seesr.loading import TAGGER_WEIGHTS, WEIGHTS
from addsr_cli.models.seesr.sampling_defaults import SAMPLING_DEFAULTS
from addsr_cli.weights import cache, google_drive, installed, sources
from addsr_cli.weights.archive import NetworkFolders, find_networks
from addsr_cli.weights.components import (
    DAPE,
    RAM,
    SCALES,
    SD2_BASE,
    SD_TURBO,
    SEESR,
    STUDENT,
    TAGS,
    licences,
)
from addsr_cli.weights.convert import build_bundle, convert_tagger, turbo_unet
from addsr_cli.weights.download_plan import (
    NETWORKS,
    PlannedComponent,
    components_of,
    plan_download,
)
from addsr_cli.weights.install_network import convert_network
from addsr_cli.weights.install_stablesr import convert_stablesr, is_stablesr
from addsr_cli.weights.progress import ProgressCallback

HALF_PRECISION = ".fp16.safetensors"
TAG_FILES = ("ram_tag_list.txt", "ram_tag_list_threshold.txt")

MessageCallback = Callable[[str], None]


def install(
    name: str,
    *,
    student: Path | None = None,
    plan: tuple[PlannedComponent, ...] | None = None,
    dtype: torch.dtype = torch.float16,
    on_progress: ProgressCallback | None = None,
    on_message: MessageCallback = lambda _: None,
) -> Path:
    """Return the bundle folder of a model that addsr has a recipe for, or of ORG/REPO.

    Downloads and converts what is missing. ``student`` is the authors' archive or folder with UNet
    and ControlNet; ``plan`` is the recent result of ``plan_download``. A second process waits for
    the first. Raises ModelUnavailable, OutputRefused and UsageError; nothing unfinished becomes
    visible.
    """
    folder = installed.find_installed(name)
    if folder:
        return folder
    with _installation_folder(name, on_message) as scratch:
        folder = installed.find_installed(name)  # another process may have installed it meanwhile
        if folder:
            return folder
        if "/" in name:
            planned = (plan or plan_download(name))[0]
            return _install_from_hub(planned, scratch, on_progress, on_message)
        components = list(components_of(name, networks_imported=student is not None))
        if STUDENT in components and not sources.sources_of(STUDENT):
            student = google_drive.download_student(on_message, on_progress)
            components.remove(STUDENT)
        manifests = {each.component.name: each.manifest for each in plan or ()}
        folders = {}
        for component in components:
            notice = f"{component.title} ({component.licence}). {component.notice}"
            on_message(notice.rstrip(". ") + ".")
            manifest = manifests.get(component.name)
            folders[component.name] = sources.fetch(
                component,
                manifest=manifest,
                on_progress=on_progress,
            )
            for note in sources.notes(component):
                on_message(f"warning: {note}")
        on_message("converting")
        if name in SCALES:
            [component] = components
            file = folders[name] / component.files[0].path
            return convert_network(file, name, component.licence, scratch)
        if is_stablesr(name):
            known_digests = _recorded_digests(folders)
            return convert_stablesr(name, folders, known_digests, dtype, on_message)
        return _convert(name, folders, student, scratch, dtype)


def _convert(
    name: str,
    folders: Mapping[str, Path],
    student: Path | None,
    scratch: Path,
    dtype: torch.dtype,
) -> Path:
    """Convert downloaded components, whose ``folders`` are given by name, to a bundle."""
    tags, thresholds = (folders[TAGS.name] / file for file in TAG_FILES)
    ram = folders[RAM.name] / RAM.files[0].path
    dape = folders[DAPE.name] / DAPE.files[0].path
    convert_tagger(
        ram,
        dape,
        tags,
        thresholds,
        scratch / "tagger",
        dtype,
    )
    networks = _network_folders(name, folders, student, scratch)
    base = folders[SD2_BASE.name]
    known_digests = _recorded_digests(folders)
    if name == "seesr-turbo":
        base = _turbo_base(
            folders[SD_TURBO.name],
            base,
            scratch / "base",
            known_digests,
        )
    origins: dict[str, object] = {
        component.name: sources.origin(component)
        for component in components_of(name)
        if component.name in folders
    }
    if student is not None:
        origins[NETWORKS[name]] = {"repo": student.name}  # no path: push publishes the record
    return build_bundle(
        name=name,
        licence=licences(components_of(name)),
        defaults=SAMPLING_DEFAULTS[name],
        networks=networks,
        base=base,
        tagger=scratch / "tagger",
        output=installed.model_folder(name),
        source=origins,
        known_digests=known_digests,
        dtype=dtype,
        teacher=_teacher_unet() if name == "addsr" else None,
    )


def _network_folders(
    name: str,
    folders: Mapping[str, Path],
    student: Path | None,
    scratch: Path,
) -> NetworkFolders:
    """Return UNet and ControlNet; SeeSR-Turbo's UNet is made in ``scratch``."""
    if student is not None:
        return find_networks(student, scratch / "student")
    seesr = folders[NETWORKS.get(name, SEESR.name)]
    if name != "seesr-turbo":
        return NetworkFolders(
            unet=seesr / "unet",
            controlnet=seesr / "controlnet",
        )
    turbo_file = folders[SD_TURBO.name] / "unet" / _half_precision(WEIGHTS)
    unet = turbo_unet(read_weights(turbo_file), read_weights(seesr / "unet" / WEIGHTS))
    (scratch / "unet").mkdir()
    save_file(unet, scratch / "unet" / WEIGHTS)
    shutil.copyfile(seesr / "unet" / "config.json", scratch / "unet" / "config.json")
    return NetworkFolders(
        unet=scratch / "unet",
        controlnet=seesr / "controlnet",
    )


def _half_precision(name: str) -> str:
    return name.replace(".safetensors", HALF_PRECISION)


def _recorded_digests(folders: Mapping[str, Path]) -> dict[Path, str]:
    """Return the sha256 of every downloaded file, as recorded when it arrived."""
    digests = {}
    for name, folder in folders.items():
        for path, entry in cache.Record.read(name).files.items():
            digests[folder / path] = entry.sha256
    return digests


def _teacher_unet() -> dict[str, Tensor] | None:
    """Return SeeSR's UNet if it is on this computer, to tell it from a student."""
    folder = installed.find_installed("seesr") or sources.find_cached(SEESR)
    return read_weights(folder / "unet" / WEIGHTS) if folder else None


def _turbo_base(
    turbo: Path,
    base: Path,
    folder: Path,
    known_digests: dict[Path, str],
) -> Path:
    """Put SD-Turbo's VAE and text encoder and Stable Diffusion 2's tokenizer into ``folder``.

    Files get their plain names; ``known_digests`` gets entries for these.
    """
    targets = {path: f"tokenizer/{path.name}" for path in (base / "tokenizer").iterdir()}
    for part, weights in {"vae": WEIGHTS, "text_encoder": TAGGER_WEIGHTS}.items():
        targets[turbo / part / _half_precision(weights)] = f"{part}/{weights}"
        targets[turbo / part / "config.json"] = f"{part}/config.json"
    for source, name in targets.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(source, folder / name)
        if source in known_digests:
            known_digests[folder / name] = known_digests[source]
    return folder


def _install_from_hub(
    planned: PlannedComponent,
    scratch: Path,
    on_progress: ProgressCallback | None,
    on_message: MessageCallback,
) -> Path:
    """Install a complete bundle from a Hub repository, in the layout that ``push`` writes."""
    component = planned.component
    on_message(f"{component.title} ({component.licence}).")
    folder = sources.fetch(
        component,
        manifest=planned.manifest,
        on_progress=on_progress,
    )
    for file in component.files:
        target = scratch / "bundle" / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(folder / file.path, target)
    output = installed.model_folder(component.title)
    (scratch / "bundle").rename(output)
    cache.remove(component)
    return output


@contextmanager
def _installation_folder(name: str, on_message: MessageCallback) -> Iterator[Path]:
    """Yield a temporary folder, locked against other processes. Raises OutputRefused."""

    def on_wait() -> None:
        on_message(f"another addsr is installing {name}; waiting for it")

    try:
        with installed.installation_folder(name, on_wait) as scratch:
            yield scratch
    except (OSError, SafetensorError) as exc:
        hint = "Free some space, or set ADDSR_HOME to another folder."
        raise write_error(installed.model_folder(name), exc, hint) from exc
