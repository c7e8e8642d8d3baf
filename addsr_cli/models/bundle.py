"""A bundle: a model as a folder, described by the ``bundle.json`` in it.

A model of several networks has one subfolder per network in the layout of diffusers and
transformers, such as ``unet/`` and ``vae/``. A model of one network is a single file named after
its architecture, such as ``nano.safetensors``. Nothing here loads a network.
"""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, get_args

from addsr_cli.errors import ModelUnavailable
from addsr_cli.files import sha256_of, write_text
from addsr_cli.schedulers import Scheduler
from addsr_cli.settings import MAX_GUIDANCE

RECORD = "bundle.json"
FORMAT = "addsr-bundle-1"
# test_addsr.py of the authors
ADDED_PROMPT = "clean, high-resolution, 8k, extremely detailed, best quality, sharp"
NEGATIVE_PROMPT = "dotted, noise, blur, lowres, smooth"

# Fields by their key in the file, which older versions of addsr read too.
KEYS = {
    "name": "name",
    "parameters": "parameters",
    "arch": "arch",
    "licence": "licence",
    "rule": "scheduler",
    "default_steps": "default_steps",
    "guidance": "guidance",
    "shortest": "shortest_side",
    "scale": "scale",
}
TEXTS = ("name", "arch", "licence")
LIMITS: dict[str, tuple[int, int, type]] = {
    "parameters": (0, 10**12, int),
    "default_steps": (1, 1000, int),
    "guidance": (0, MAX_GUIDANCE, float),
    "shortest": (0, 4096, int),
    "scale": (0, 64, int),
}

CONSISTENCY = "renoise"  # what the format calls the scheduler "consistency"


@dataclass(frozen=True, kw_only=True)
class PromptDefaults:
    """Prompts of a model, used where the user gives none."""

    added_prompt: str = ADDED_PROMPT
    negative_prompt: str = NEGATIVE_PROMPT


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Contents of ``bundle.json``.

    ``arch`` names the architecture; ``parameters`` counts the weights of all networks; ``files``
    maps paths to sha256. ``scheduler``, ``default_steps`` and ``guidance`` are the sampling
    defaults; ``shortest_side`` is the least shorter side of the canvas in pixels, the size that the
    networks were trained at. ``scale`` is the factor of a network that answers in one pass, 0 for
    models that sample at any size.
    """

    name: str
    parameters: int
    arch: str = "seesr"
    licence: str = "unknown"
    scheduler: Scheduler = "consistency"
    default_steps: int = 4
    guidance: float = 1.0
    shortest_side: int = 512
    scale: int = 0
    prompt_defaults: PromptDefaults = field(default_factory=PromptDefaults)
    files: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the record of a bundle folder.

        Raises ModelUnavailable when it is damaged or of another format.
        """
        path = folder / RECORD
        try:
            raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if raw.get("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            return cls._parse(raw)
        except (OSError, AttributeError, TypeError, ValueError, RecursionError) as exc:
            raise ModelUnavailable(
                f"{path} is not a bundle record: {exc}", "Import the model again."
            ) from exc

    @classmethod
    def _parse(cls, raw: dict[str, Any]) -> Self:
        """Build from JSON, without keys that are unknown here."""
        _check(raw)
        prompts: dict[str, str] = raw.get("words", {})
        _check_texts(prompts, tuple(prompts))
        files: dict[str, str] = raw.get("files", {})
        values = {KEYS[key]: value for key, value in raw.items() if key in KEYS}
        if values.get("scheduler") == CONSISTENCY:
            values["scheduler"] = "consistency"
        return cls(
            **values,
            prompt_defaults=PromptDefaults(**prompts),
            files=tuple((str(name), str(digest)) for name, digest in files.items()),
        )

    def write(self, folder: Path) -> None:
        """Write the record, with the digests of the model's files in ``folder``."""
        record: dict[str, Any] = {key: getattr(self, name) for key, name in KEYS.items()}
        if self.scheduler == "consistency":
            record["rule"] = CONSISTENCY
        record["words"] = {
            "added_prompt": self.prompt_defaults.added_prompt,
            "negative_prompt": self.prompt_defaults.negative_prompt,
        }
        record["files"] = {
            path.relative_to(folder).as_posix(): sha256_of(path)
            for path in _files(folder, self.arch)
        }
        record["format"] = FORMAT
        write_text(folder / RECORD, json.dumps(record, indent=1))

    @property
    def digest(self) -> str:
        """sha256 over names and digests of all files, hexadecimal."""
        return sha256(json.dumps(sorted(self.files)).encode()).hexdigest()


def single_file(arch: str) -> str:
    """Return the file name of a model of this architecture that consists of one network."""
    return f"{arch}.safetensors"


def _files(folder: Path, arch: str) -> list[Path]:
    """Return the files that make up a model: all subfolders, and the single file of ``arch``."""
    subfolders = [path for path in folder.iterdir() if path.is_dir()]
    paths = [folder / single_file(arch)]
    for subfolder in subfolders:
        if not subfolder.name.startswith("."):
            paths.extend(subfolder.rglob("*"))
    return sorted(path for path in paths if path.is_file())


def _check(raw: dict[str, Any]) -> None:
    """Raise ValueError or TypeError for values that no model has: records come from strangers."""
    _check_texts(raw, TEXTS)
    if raw.get("rule", CONSISTENCY) not in {CONSISTENCY, *get_args(Scheduler)}:
        raise ValueError(f"its rule {raw['rule']!r} is unknown")
    for key, (least, most, kind) in LIMITS.items():
        value = raw.get(key, least)
        number = isinstance(value, int) or (kind is float and isinstance(value, float))
        if not number or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"its {key} is not a number from {least:,} to {most:,}")


def _check_texts(raw: dict[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if not isinstance(raw.get(key, ""), str):
            raise TypeError(f"its {key} is not a text")
