"""From official checkpoints to a bundle.

``convert_tagger`` merges RAM and DAPE; ``turbo_unet`` makes SeeSR-Turbo's UNet; ``build_bundle``
puts all networks into one folder after checking that they belong together.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from addsr_cli.errors import ModelUnavailable
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.bundle_files import (
    HISTORY,
    State,
    cast_state,
    count_weights,
    new_folder,
    vocabulary_files,
    write_history,
)
from addsr_cli.models.checkpoint_reader import DOWNLOAD_AGAIN, read_weights
from addsr_cli.models.seesr.archive import (
    CLASSES,
    CONFIG,
    TITLES,
    NetworkFolders,
    weights_file,
)
from addsr_cli.models.seesr.dual_cross_attention import (
    build_controlnet,
    build_unet,
    image_width,
    load_pairs,
)
from addsr_cli.models.seesr.loading import TAGGER_WEIGHTS, WEIGHTS, save_tagger
from addsr_cli.models.seesr.tagger import TaggerConfig
from addsr_cli.models.seesr.tagger_weights import load_tagger, merge

FILE_NAMES = {
    "unet": WEIGHTS,
    "controlnet": WEIGHTS,
    "vae": WEIGHTS,
    "text_encoder": TAGGER_WEIGHTS,
}
BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "unet": build_unet,
    "controlnet": build_controlnet,
}
WRONG_FILES = "The files must be those of SeeSR or AddSR."
# What building a network from an invalid configuration raises.
CONFIG_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, kw_only=True)
class _Network:
    """One network as published: its configuration, weights file, and memory-mapped weights."""

    config: dict[str, Any]
    file: Path
    state: dict[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> "_Network":
        file = weights_file(folder)
        return cls(config=_read_json(folder / CONFIG), file=file, state=read_weights(file))


def convert_tagger(
    ram_path: Path,
    dape_path: Path | None,
    tags_path: Path,
    thresholds_path: Path,
    folder: Path,
    dtype: torch.dtype = torch.float16,
    sizes: TaggerConfig | None = None,
) -> TaggerConfig:
    """Write the tagger folder of a bundle from RAM's checkpoint and DAPE's.

    ``dape_path`` None leaves RAM as it is. The lists have one tag, one threshold a line. ``folder``
    must not exist. ``sizes`` describes any but the published RAM; its tags and thresholds are
    ignored. Raises ModelUnavailable and OutputRefused.
    """
    tags, thresholds = _read_tag_lists(tags_path, thresholds_path)
    config = sizes or TaggerConfig(tags=("",), thresholds=(1.0,))
    config = replace(config, tags=tags, thresholds=thresholds)
    dape = read_weights(dape_path) if dape_path else None
    merged = cast_state(merge(read_weights(ram_path), dape, config), dtype, "tagger")
    with new_folder(folder, count_weights(merged) * dtype.itemsize) as temporary:
        save_tagger(merged, config, temporary)
    return config


def turbo_unet(turbo_state: State, seesr_state: State) -> dict[str, Tensor]:
    """Return SeeSR-Turbo's UNet: sd-turbo's, with the image attention of SeeSR's.

    Raises ModelUnavailable for weights of either that do not fit the other.
    """
    shared = {key: value for key, value in seesr_state.items() if "image_attentions" not in key}
    wrong = []
    for key, value in shared.items():
        if key not in turbo_state or turbo_state[key].shape != value.shape:
            wrong.append(key)
    wrong += [key for key in turbo_state if key not in shared]
    if wrong or len(shared) == len(seesr_state):
        reason = ", ".join(wrong[:3]) or "no image attention in the second"
        raise ModelUnavailable(
            f"sd-turbo's UNet does not fit SeeSR's: {reason}.", "Take unet/ of both as published."
        )
    return {key: turbo_state.get(key, value) for key, value in seesr_state.items()}


def build_bundle(
    *,
    networks: NetworkFolders,
    base: Path,
    tagger: Path,
    output: Path,
    name: str,
    licence: str,
    source: Mapping[str, Any],
    known_digests: Mapping[Path, str] | None = None,
    dtype: torch.dtype = torch.float16,
    teacher: State | None = None,
    defaults: Bundle | None = None,
) -> Path:
    """Write a bundle to ``output``, which must not exist and appears only when it is complete.

    ``base`` contains vae/, text_encoder/ and tokenizer/ as SD2-base does; ``tagger`` comes from
    ``convert_tagger`` and is copied; all other weights become ``dtype``. ``defaults`` says how the
    model is used (scheduler, steps, prompts); its name, licence and count are ignored. ``source``
    is recorded, with the sha256 of every input, which is computed unless it is in
    ``known_digests``. ``teacher`` is SeeSR's UNet, refused as a student unless ``name`` begins
    with seesr. Raises ModelUnavailable and OutputRefused.
    """
    parts = _read_networks(networks, base)
    tagger_network = _Network.read(tagger)
    tagger_config = TaggerConfig.from_json(tagger_network.config)
    load_tagger(tagger_config, tagger_network.state, device="meta")
    _check_compatible(parts, tagger_config)
    if teacher is not None and not name.startswith("seesr"):
        _check_student(parts["unet"].state, teacher)

    copied = {
        "tagger": [tagger / CONFIG, tagger_network.file],
        "tokenizer": vocabulary_files(base / "tokenizer"),
    }
    inputs = {part: [each.file.with_name(CONFIG), each.file] for part, each in parts.items()}
    size = sum(count_weights(network.state) for network in parts.values()) * dtype.itemsize
    size += sum(path.stat().st_size for paths in copied.values() for path in paths)
    record = replace(
        defaults or Bundle(name=name, parameters=0),
        name=name,
        parameters=sum(count_weights(each.state) for each in (*parts.values(), tagger_network)),
        licence=licence,
    )
    with new_folder(output, size) as folder:
        for part, network in parts.items():
            _write_network(network, part, folder / part, dtype)
        for part, paths in copied.items():
            (folder / part).mkdir()
            for path in paths:
                shutil.copyfile(path, folder / part / path.name)
        record.write(folder)
        write_history(folder / HISTORY, source, inputs | copied, known_digests or {})
    return output


def _read_networks(networks: NetworkFolders, base: Path) -> dict[str, _Network]:
    """Read UNet and ControlNet from ``networks``, and the others from ``base``."""
    folders = {part: base / part for part in FILE_NAMES}
    folders["unet"] = networks.unet
    folders["controlnet"] = networks.controlnet
    parts = {part: _Network.read(folder) for part, folder in folders.items()}
    for part in BUILDERS:
        parts[part] = _checked_network(parts[part], part)
    return parts


def _checked_network(network: _Network, part: str) -> _Network:
    """Check keys and shapes against our own network, and drop leftovers of training."""
    title = TITLES[part]
    class_name = network.config.get("_class_name")
    if CLASSES.get(str(class_name), part) != part:
        raise ModelUnavailable(
            f"{network.file.parent} is given as {title}, but holds a {class_name}.",
            "Swap the two folders.",
        )
    state = {key: value for key, value in network.state.items() if not key.startswith("align.")}
    try:
        with torch.device("meta"):
            module = BUILDERS[part](network.config, image_width(state, title))
    except CONFIG_ERRORS as exc:
        raise ModelUnavailable(
            f"{network.file.with_name(CONFIG)} does not describe a {title}: {exc}.", WRONG_FILES
        ) from exc
    load_pairs(module, state, title)
    return replace(network, state=state)


def _check_compatible(parts: Mapping[str, _Network], tagger: TaggerConfig) -> None:
    """Raise ModelUnavailable for networks of different families, such as Stable Diffusion 1.5."""
    unet = parts["unet"].config
    controlnet = parts["controlnet"].config
    image_widths = [image_width(parts[part].state, TITLES[part]) for part in BUILDERS]
    widths: dict[str, list[Any]] = {
        "text tokens of UNet, ControlNet, text encoder": [
            unet.get("cross_attention_dim"),
            controlnet.get("cross_attention_dim"),
            parts["text_encoder"].config.get("hidden_size"),
        ],
        "image tokens of UNet, ControlNet, tagger": [*image_widths, tagger.tokens],
        "latents of UNet, ControlNet, VAE": [
            unet.get("in_channels"),
            controlnet.get("in_channels"),
            parts["vae"].config.get("latent_channels"),
        ],
        "blocks of UNet, ControlNet": [
            unet.get("block_out_channels"),
            controlnet.get("block_out_channels"),
        ],
    }
    for subject, values in widths.items():
        if any(value != values[0] for value in values):
            raise ModelUnavailable(
                f"The networks do not belong together: {subject} are "
                f"{', '.join(map(str, values))} wide.",
                WRONG_FILES,
            )


def _check_student(state: State, teacher: State) -> None:
    """Raise ModelUnavailable for the teacher's UNet under another name.

    Weights are compared in half precision, which either may have been stored in.
    """
    for key, value in state.items():
        if key not in teacher or not torch.equal(value.half(), teacher[key].half()):
            return
    raise ModelUnavailable(
        "This UNet is SeeSR's, the 50-step teacher, not a student of few steps.",
        "Take the student's weights, or import it as seesr.",
    )


def _read_tag_lists(tags: Path, thresholds: Path) -> tuple[tuple[str, ...], tuple[float, ...]]:
    try:
        lines = tags.read_text(encoding="utf-8").rstrip().splitlines()
        names = tuple(line.strip() for line in lines)
        values = tuple(float(text) for text in thresholds.read_text(encoding="utf-8").split())
    except (OSError, ValueError) as exc:
        raise ModelUnavailable(
            f"{tags} or {thresholds} is not RAM's list: {exc}.", DOWNLOAD_AGAIN
        ) from exc
    if len(names) != len(values) or "" in names or not all(0 <= value <= 1 for value in values):
        raise ModelUnavailable(
            f"{tags} and {thresholds} do not match: {len(names)} tags, "
            f"{len(values)} thresholds from 0 to 1.",
            "Take both lists of RAM from the same commit.",
        )
    return names, values


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError, RecursionError) as exc:
        raise ModelUnavailable(f"{path} cannot be read: {exc}.", DOWNLOAD_AGAIN) from exc
    return content


def _write_network(
    network: _Network,
    part: str,
    folder: Path,
    dtype: torch.dtype,
) -> None:
    folder.mkdir()
    state = cast_state(network.state, dtype, TITLES.get(part, part))
    save_file(state, folder / FILE_NAMES[part], metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(network.config, indent=1), encoding="utf-8")
