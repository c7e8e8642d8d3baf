"""From official checkpoints to a bundle: the only place where pickles are read, and never as programs.

``convert_tagger`` merges RAM and DAPE; ``build_bundle`` puts UNet, ControlNet, tagger and the parts
of Stable Diffusion 2 into one folder after checking that they belong together; ``turbo_unet`` makes
SeeSR-Turbo's UNet.
"""

import json
import pickle
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from addsr_cli.errors import ModelUnavailable, OutputRefused
from addsr_cli.files import atomic_folder, require_free_space, sha256_of, write_error
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.seesr.dual_cross_attention import (
    build_controlnet,
    build_unet,
    image_width,
    load_pairs,
)
from addsr_cli.models.seesr.loading import TAGGER_WEIGHTS, WEIGHTS, save_tagger
from addsr_cli.models.seesr.tagger import TaggerConfig, load_tagger, merge
from addsr_cli.version import __version__
from addsr_cli.weights.archive import (
    AGAIN,
    CLASSES,
    CONFIG,
    TITLES,
    Pair,
    first_bytes,
    weights_file,
)

IMPORT = "import.json"
STORED = {"unet": WEIGHTS, "controlnet": WEIGHTS, "vae": WEIGHTS, "text_encoder": TAGGER_WEIGHTS}
BUILD: dict[str, Callable[..., nn.Module]] = {"unet": build_unet, "controlnet": build_controlnet}
VOCABULARY = ("vocab.json", "merges.txt")
TEXT = "cross_attention_dim"
FITTING = "The files must be those of SeeSR or AddSR."
NONSENSE = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
State = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class _Network:
    """One network as it came: its configuration, weights file, and weights (mapped from disk)."""

    config: dict[str, Any]
    file: Path
    state: dict[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> "_Network":
        file = weights_file(folder)
        return cls(
            config=_json(folder / CONFIG),
            file=file,
            state=read_weights(file),
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a PyTorch checkpoint or its entry ``model``; mapped, not read.

    Raises ModelUnavailable for what is damaged, holds more than tensors, or would run code.
    """
    first_bytes(path)
    try:
        raw = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except (SafetensorError, RuntimeError, EOFError, OSError, LookupError, ValueError) as exc:
        reason = (str(exc).splitlines() or ["it ends too early"])[0].rstrip(".")
        raise ModelUnavailable(f"{path} is damaged or holds no weights: {reason}.", AGAIN) from exc
    if isinstance(raw, Mapping) and isinstance(raw.get("model"), Mapping):
        raw = raw["model"]
    if (
        not isinstance(raw, Mapping)
        or not raw
        or not all(isinstance(value, Tensor) for value in raw.values())
    ):
        raise ModelUnavailable(
            f"{path} holds something else than named weights.", "Take the authors' own file."
        )
    return dict(raw)


def _unpickled(path: Path) -> object:
    mapped = zipfile.is_zipfile(
        path
    )  # files of torch before 1.6 are bare pickles, which cannot be mapped
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old ways of storing
            return torch.load(
                path,
                map_location="cpu",
                weights_only=True,
                mmap=mapped,
            )
    except pickle.UnpicklingError as exc:
        names = re.findall(r"GLOBAL ([\w.]+)", str(exc))
        with suppress(
            pickle.UnpicklingError, RuntimeError, ValueError
        ):  # which it raises for bare pickles
            names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)) or names
        if not names:
            raise ModelUnavailable(
                f"{path} is no checkpoint of PyTorch, or a damaged one.", AGAIN
            ) from exc
        problem = f"{path} is not only weights: loading it would run {', '.join(names)}."
        raise ModelUnavailable(
            problem, "Do not load it with anything else; take the authors' own file."
        ) from exc


def convert_tagger(
    ram_path: Path,
    dape_path: Path | None,
    tags_path: Path,
    thresholds_path: Path,
    folder: Path,
    dtype: torch.dtype = torch.float16,
    sizes: TaggerConfig | None = None,
) -> TaggerConfig:
    """RAM's checkpoint and DAPE's (None: RAM as it is) -> the tagger folder of a bundle, which must not exist yet.

    The lists hold one tag, one threshold a line. ``sizes`` describes any but the published RAM; its
    tags and thresholds do not matter. Raises ModelUnavailable and OutputRefused.
    """
    tags, thresholds = _lists(tags_path, thresholds_path)
    config = replace(
        sizes or TaggerConfig(tags=("",), thresholds=(1.0,)), tags=tags, thresholds=thresholds
    )
    merged = merge(read_weights(ram_path), read_weights(dape_path) if dape_path else None, config)
    made = _cast(merged, dtype, "tagger")
    with _appearing(folder, _count(made) * dtype.itemsize) as part:
        save_tagger(made, config, part)
    return config


def _lists(tags: Path, thresholds: Path) -> tuple[tuple[str, ...], tuple[float, ...]]:
    try:
        names = tuple(map(str.strip, tags.read_text(encoding="utf-8").rstrip().splitlines()))
        values = tuple(map(float, thresholds.read_text(encoding="utf-8").split()))
    except (OSError, ValueError) as exc:
        raise ModelUnavailable(f"{tags} or {thresholds} is not RAM's list: {exc}.", AGAIN) from exc
    if len(names) != len(values) or "" in names or not all(0 <= value <= 1 for value in values):
        problem = f"{tags} and {thresholds} do not match: {len(names)} tags, {len(values)} thresholds from 0 to 1."
        raise ModelUnavailable(problem, "Take both lists of RAM from the same commit.")
    return names, values


def turbo_unet(turbo_state: State, seesr_state: State) -> dict[str, Tensor]:
    """SeeSR-Turbo's UNet: sd-turbo's, with the image attention of SeeSR's. Raises ModelUnavailable for any leftover."""
    own = {key: value for key, value in seesr_state.items() if "image_attentions" not in key}
    wrong = [
        key for key in own if key not in turbo_state or turbo_state[key].shape != own[key].shape
    ]
    wrong += [key for key in turbo_state if key not in own]
    if wrong or len(own) == len(seesr_state):
        named = ", ".join(wrong[:3]) or "no image attention in the second"
        raise ModelUnavailable(
            f"sd-turbo's UNet does not fit SeeSR's: {named}.", "Take unet/ of both as published."
        )
    return {key: turbo_state.get(key, value) for key, value in seesr_state.items()}


def build_bundle(
    *,
    pair: Pair,
    parts: Path,
    tagger: Path,
    output: Path,
    name: str,
    licence: str,
    source: Mapping[str, Any],
    known: Mapping[Path, str] | None = None,
    dtype: torch.dtype = torch.float16,
    teacher: State | None = None,
    recipe: Bundle | None = None,
) -> Path:
    """One bundle at ``output``, which must not exist yet and appears only when it is complete.

    ``parts`` holds vae/, text_encoder/ and tokenizer/ as SD2-base does, ``tagger`` comes from
    ``convert_tagger`` and is copied as it is; all other weights become ``dtype``. ``source`` is
    recorded, and the sha256 of every input, which is not computed where it is ``known``; so is how
    ``recipe`` says the model is used (steps, words; its name, licence and count do not matter).
    ``teacher`` is SeeSR's UNet, which is refused unless ``name`` begins with seesr. Raises
    ModelUnavailable and OutputRefused.
    """
    networks = {part: _Network.read(getattr(pair, part, parts / part)) for part in STORED}
    networks |= {part: _official(networks[part], part) for part in BUILD}
    seen = _Network.read(tagger)
    tagger_config = TaggerConfig.from_json(seen.config)
    load_tagger(tagger_config, seen.state, device="meta")
    _check_together(networks, tagger_config)
    if teacher is not None and not name.startswith("seesr"):
        _check_student(networks["unet"].state, teacher)
    copied = {"tagger": [tagger / CONFIG, seen.file], "tokenizer": _vocabulary(parts / "tokenizer")}
    need = sum(_count(each.state) for each in networks.values()) * dtype.itemsize
    need += sum(path.stat().st_size for paths in copied.values() for path in paths)
    used = {
        part: [each.file.with_name(CONFIG), each.file] for part, each in networks.items()
    } | copied
    count = sum(_count(each.state) for each in (*networks.values(), seen))
    record = replace(
        recipe or Bundle(name=name, parameters=0),
        name=name,
        parameters=count,
        licence=licence,
    )
    with _appearing(output, need) as folder:
        for part, network in networks.items():
            _write_network(network, part, folder / part, dtype)
        for part, paths in copied.items():
            (folder / part).mkdir()
            for path in paths:
                shutil.copyfile(path, folder / part / path.name)
        inputs = {
            f"{part}/{path.name}": (known or {}).get(path) or sha256_of(path)
            for part, paths in used.items()
            for path in paths
        }
        history = {
            "source": dict(source),
            "inputs": inputs,
            "date": str(datetime.now(UTC).date()),
            "addsr": __version__,
        }
        record.write(folder)
        (folder / IMPORT).write_text(json.dumps(history, indent=1), encoding="utf-8")
    return output


def _official(network: _Network, part: str) -> _Network:
    """The network without leftovers of training, after checking its keys and shapes against our own."""
    title, said = TITLES[part], network.config.get("_class_name")
    if CLASSES.get(str(said), part) != part:
        raise ModelUnavailable(
            f"{network.file.parent} is given as {title}, but holds a {said}.",
            "Swap the two folders.",
        )
    state = {key: value for key, value in network.state.items() if not key.startswith("align.")}
    try:
        with torch.device("meta"):
            net = BUILD[part](network.config, image_width(state, title))
    except NONSENSE as exc:
        raise ModelUnavailable(
            f"{network.file.with_name(CONFIG)} describes no {title}: {exc}.", FITTING
        ) from exc
    load_pairs(net, state, title)
    return replace(network, state=state)


def _check_together(networks: Mapping[str, _Network], tagger: TaggerConfig) -> None:
    """Refuse networks of different families, such as those of Stable Diffusion 1.5."""
    unet, controlnet, vae, text = (networks[part].config.get for part in STORED)
    tokens = [image_width(networks[part].state, TITLES[part]) for part in BUILD]
    facts: dict[str, list[Any]] = {
        "text tokens of UNet, ControlNet, text encoder": [
            *(f(TEXT) for f in (unet, controlnet)),
            text("hidden_size"),
        ],
        "image tokens of UNet, ControlNet, tagger": [*tokens, tagger.tokens],
        "latents of UNet, ControlNet, VAE": [
            unet("in_channels"),
            controlnet("in_channels"),
            vae("latent_channels"),
        ],
        "blocks of UNet, ControlNet": [
            unet("block_out_channels"),
            controlnet("block_out_channels"),
        ],
    }
    for what, widths in facts.items():
        if any(width != widths[0] for width in widths):
            problem = f"The networks do not belong together: {what} are {', '.join(map(str, widths))} wide."
            raise ModelUnavailable(problem, FITTING)


def _check_student(state: State, teacher: State) -> None:
    """Refuse the teacher's UNet under another name. Half precision decides, which either may have been stored in."""
    if all(
        key in teacher and torch.equal(value.half(), teacher[key].half())
        for key, value in state.items()
    ):
        problem = "This UNet is SeeSR's, the 50-step teacher, not a student of few steps."
        raise ModelUnavailable(problem, "Take the student's weights, or import it as seesr.")


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(read, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError, RecursionError) as exc:
        raise ModelUnavailable(f"{path} cannot be read: {exc}.", AGAIN) from exc
    return read


def _vocabulary(folder: Path) -> list[Path]:
    if missing := [name for name in VOCABULARY if not (folder / name).is_file()]:
        raise ModelUnavailable(
            f"{folder} lacks {' and '.join(missing)}.", "Take tokenizer/ of SD2-base."
        )
    return sorted(path for path in folder.iterdir() if path.is_file())


def _count(state: State) -> int:
    return sum(value.numel() for value in state.values() if value.is_floating_point())


def _cast(state: State, dtype: torch.dtype, what: str) -> dict[str, Tensor]:
    """Weights in ``dtype``. Raises ModelUnavailable where that loses one."""
    made = {
        key: (v.to(dtype) if v.is_floating_point() else v).contiguous() for key, v in state.items()
    }
    if broken := [key for key, value in made.items() if not bool(value.isfinite().all())]:
        problem = f"The {what} has weights that are no numbers in {dtype}: {', '.join(broken[:3])}."
        raise ModelUnavailable(
            problem, "Convert to float32; if that fails too, the file is damaged."
        )
    return made


def _write_network(
    network: _Network,
    part: str,
    folder: Path,
    dtype: torch.dtype,
) -> None:
    folder.mkdir()
    save_file(
        _cast(network.state, dtype, TITLES.get(part, part)),
        folder / STORED[part],
        metadata={"format": "pt"},
    )
    (folder / CONFIG).write_text(json.dumps(network.config, indent=1), encoding="utf-8")


@contextmanager
def _appearing(output: Path, need: int) -> Iterator[Path]:
    """A new folder beside ``output`` that takes its name in the end, or goes without a trace."""
    if output.exists():
        raise OutputRefused(f"{output} exists already.", "Remove it, or choose another name.")
    try:
        with atomic_folder(output) as folder:
            require_free_space(
                output.parent,
                need,
                f"{output} needs",
                "Free some space, or choose a folder on another disk.",
            )
            yield folder
    except (OSError, SafetensorError) as exc:
        raise write_error(output, exc, "Free some space, or choose another folder.") from exc
