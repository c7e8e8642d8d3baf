"""What a bundle is: a model as a folder, with a record of what lies in it.

``bundle.json`` lies beside one subfolder per network in the layout of diffusers and transformers:
``unet/``, ``controlnet/``, ``vae/``, ``text_encoder/``, ``tokenizer/`` and ``tagger/``. Weights are
safetensors, those of UNet and ControlNet under the official names. A nano is one file,
``nano.safetensors``. Nothing here loads a network.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Self, get_args

from addsr_cli.errors import ModelUnavailable
from addsr_cli.files import digest_of
from addsr_cli.schedulers import Scheduler
from addsr_cli.settings import MAX_GUIDANCE

RECORD = "bundle.json"
FORMAT = "addsr-bundle-1"
NANO_FILE = "nano.safetensors"
PARTS = ("unet", "controlnet", "vae", "text_encoder", "tokenizer", "tagger")
ADDED_PROMPT = (
    "clean, high-resolution, 8k, extremely detailed, best quality, sharp"  # test_addsr.py's
)
NEGATIVE_PROMPT = "dotted, noise, blur, lowres, smooth"

TEXTS = ("name", "arch", "licence", "added_prompt", "negative_prompt")
LIMITS: dict[str, tuple[int, int, type]] = {
    "parameters": (0, 10**12, int),
    "default_steps": (1, 1000, int),
    "guidance": (0, MAX_GUIDANCE, float),
    "shortest": (0, 4096, int),
}


@dataclass(frozen=True, kw_only=True)
class PromptDefaults:
    """What a model adds to every prompt unless told otherwise."""

    added_prompt: str = ADDED_PROMPT
    negative_prompt: str = NEGATIVE_PROMPT


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What ``bundle.json`` says.

    ``arch`` is ``seesr`` or ``nano``; ``parameters`` counts the weights of all parts; ``files``
    maps path to sha256. ``rule``, ``default_steps`` and ``guidance`` are how it is sampled;
    ``shortest`` is the least shorter side of the canvas in pixels, which the networks were trained
    at.
    """

    name: str
    parameters: int
    arch: str = "seesr"
    licence: str = "unknown"
    rule: Scheduler = "renoise"
    default_steps: int = 4
    guidance: float = 1.0
    shortest: int = 512
    words: PromptDefaults = field(default_factory=PromptDefaults)
    files: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The record of a bundle folder. Raises ModelUnavailable when it is damaged or of another kind."""
        path = folder / RECORD
        try:
            raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if raw.pop("format", None) != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            words = PromptDefaults(**raw.pop("words", {}))
            files = tuple((str(name), str(digest)) for name, digest in raw.pop("files", {}).items())
            if raw.get("rule", "renoise") not in get_args(Scheduler):
                raise ValueError(f"its rule {raw['rule']!r} is unknown")
            known = {each.name for each in fields(cls)}
            read = cls(
                words=words,
                files=files,
                **{key: value for key, value in raw.items() if key in known},
            )
            read.check()
            return read
        except (OSError, AttributeError, TypeError, ValueError, RecursionError) as exc:
            raise ModelUnavailable(
                f"{path} is not a bundle record: {exc}", "Import the model again."
            ) from exc

    def check(self) -> None:
        """Raise ValueError or TypeError, in one clause, for values that no model has: records come from strangers."""
        values: dict[str, Any] = asdict(self) | asdict(self.words)
        for key, value in values.items():
            if key in TEXTS and not isinstance(value, str):
                raise TypeError(f"its {key} is no text")
            if key in LIMITS:
                least, most, kind = LIMITS[key]
                number = isinstance(value, int) or (kind is float and isinstance(value, float))
                if not number or isinstance(value, bool) or not least <= value <= most:
                    raise ValueError(f"its {key} is not a number from {least:,} to {most:,}")

    def write(self, folder: Path) -> None:
        """Write the record, with the digests of all files that lie in the folder now."""
        files = {str(path.relative_to(folder)): digest_of(path) for path in _files(folder)}
        record = asdict(self) | {"format": FORMAT, "files": files}
        (folder / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")

    @property
    def digest(self) -> str:
        """sha256 over the files' names and digests: one number for the whole model."""
        return sha256(json.dumps(sorted(self.files)).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    found = [path for part in PARTS for path in (folder / part).rglob("*")]
    return sorted(path for path in (*found, folder / NANO_FILE) if path.is_file())
