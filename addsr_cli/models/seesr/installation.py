"""SeeSR, AddSR and SeeSR-Turbo as installed models: from what was downloaded to a bundle."""

import shutil
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from addsr_cli.files import link_or_copy
from addsr_cli.models.checkpoint_reader import read_weights
from addsr_cli.models.published import Downloads
from addsr_cli.models.seesr.archive import NetworkFolders, find_networks
from addsr_cli.models.seesr.conversion import build_bundle, convert_tagger, turbo_unet
from addsr_cli.models.seesr.loading import TAGGER_WEIGHTS, WEIGHTS
from addsr_cli.models.seesr.published import DAPE, RAM, SD2_BASE, SD_TURBO, SEESR, STUDENT, TAGS
from addsr_cli.models.seesr.sampling_defaults import SAMPLING_DEFAULTS

HALF_PRECISION = ".fp16.safetensors"
TURBO = "seesr-turbo"


def convert(downloads: Downloads) -> None:
    """Convert the components of one model, or the user's own UNet and ControlNet."""
    name = downloads.name
    scratch = downloads.scratch
    tags, thresholds = (downloads.file(TAGS, number) for number in (0, 1))
    convert_tagger(
        downloads.file(RAM),
        downloads.file(DAPE),
        tags,
        thresholds,
        scratch / "tagger",
        downloads.dtype,
    )
    base = downloads.folders[SD2_BASE.name]
    known_digests = dict(downloads.digests)
    if name == TURBO:
        base = _turbo_base(
            downloads.folders[SD_TURBO.name],
            base,
            scratch / "base",
            known_digests,
        )
    build_bundle(
        name=name,
        licence=downloads.licence,
        defaults=SAMPLING_DEFAULTS[name],
        networks=_network_folders(downloads),
        base=base,
        tagger=scratch / "tagger",
        output=downloads.output,
        source=downloads.origins,
        known_digests=known_digests,
        dtype=downloads.dtype,
        teacher=_teacher_unet(downloads) if name == "addsr" else None,
    )


def _network_folders(downloads: Downloads) -> NetworkFolders:
    """Return UNet and ControlNet; SeeSR-Turbo's UNet is made in ``scratch``."""
    scratch = downloads.scratch
    if downloads.own_networks is not None:
        return find_networks(downloads.own_networks, scratch / "student")
    component = STUDENT if downloads.name == "addsr" else SEESR
    folder = downloads.folders[component.name]
    if downloads.name != TURBO:
        return NetworkFolders(
            unet=folder / "unet",
            controlnet=folder / "controlnet",
        )
    turbo_file = downloads.folders[SD_TURBO.name] / "unet" / _half_precision(WEIGHTS)
    unet = turbo_unet(read_weights(turbo_file), read_weights(folder / "unet" / WEIGHTS))
    (scratch / "unet").mkdir()
    save_file(unet, scratch / "unet" / WEIGHTS)
    shutil.copyfile(folder / "unet" / "config.json", scratch / "unet" / "config.json")
    return NetworkFolders(
        unet=scratch / "unet",
        controlnet=folder / "controlnet",
    )


def _teacher_unet(downloads: Downloads) -> dict[str, Tensor] | None:
    """Return SeeSR's UNet if it is on this computer, to tell it from a student."""
    folder = downloads.find_model("seesr") or downloads.find_component(SEESR)
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


def _half_precision(name: str) -> str:
    return name.replace(".safetensors", HALF_PRECISION)
