"""What a training run is: one frozen, validated record, saved beside its checkpoints."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from addsr_cli.degradation import RECIPES, SCALE
from addsr_cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one run.

    ``crop`` and ``batch_size`` shape a batch (HR pixels per side, samples per process); ``mix`` is the share of each
    degradation recipe; ``first_step_share`` the share of samples trained at t=999, the rest falls evenly on the later
    timesteps; ``ssim_weight`` weighs 1 - SSIM against the Charbonnier distance (relative to that of the canvas);
    ``init`` starts from another model's weights. ``steps`` is the length of the whole schedule: the learning rate
    falls to zero over it as a cosine.
    """

    data: Path
    output: Path
    arch: str = "nano"
    stage: str = "teacher"
    steps: int = 20_000
    batch_size: int = 8
    crop: int = 160
    lr: float = 2.5e-3
    warmup: int = 100
    clip: float = 1.0
    ema: float = 0.999
    first_step_share: float = 0.8
    ssim_weight: float = 0.8
    mix: tuple[tuple[str, float], ...] = (("clean", 0.2), ("mild", 0.1), ("camera", 0.42), ("strong", 0.28))
    usm: bool = False
    seed: int = 0
    workers: int = 1
    precision: str = "auto"
    device: str = "auto"
    init: Path | None = None
    save_every: int = 500
    sample_every: int = 500
    log_every: int = 20
    keep: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        if self.arch not in ("nano", "tiny"):
            raise UsageError(f"--arch {self.arch} cannot be trained yet.", "Use --arch nano, or tiny for a smoke test.")
        if self.stage != "teacher":
            raise UsageError(f"--stage {self.stage} is not available yet.", "Use --stage teacher.")
        if self.crop % (4 * SCALE) or self.crop < 64:
            raise UsageError(f"--crop {self.crop} must be a multiple of {4 * SCALE}, at least 64.")
        if min(self.steps, self.batch_size, self.save_every, self.sample_every, self.log_every, self.keep) < 1:
            raise UsageError("Steps, batch size and the save, sample, log and keep counts must be at least 1.")
        unknown = [name for name, _ in self.mix if name not in RECIPES]
        shares = [share for _, share in self.mix]
        if unknown or not 0.999 < sum(shares) < 1.001 or min(shares) < 0:
            raise UsageError(f"The degradation mix must name {', '.join(RECIPES)} with shares that add up to 1.")
        if not (self.lr > 0 and self.clip > 0 and self.ssim_weight >= 0 and self.seed >= 0):
            raise UsageError("The learning rate and clip must be above 0, SSIM weight and seed 0 or more.")
        if not 0 <= self.first_step_share <= 1 or not 0 <= self.ema < 1 or self.workers < 0:
            raise UsageError("first-step share must be in 0..1, ema in 0..1 (1 excluded), workers 0 or more.")

    def to_json(self) -> str:
        """Readable form, the inverse of ``from_json``."""
        return json.dumps(asdict(self), indent=1, default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what ``to_json`` wrote."""
        raw: dict[str, Any] = json.loads(text)
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in raw.items() if key in known}
        for key in ("data", "output", "init"):
            values[key] = Path(values[key]) if values.get(key) else None
        values["mix"] = tuple((str(name), float(share)) for name, share in values["mix"])
        return cls(**values)


def parse_mix(text: str) -> tuple[tuple[str, float], ...]:
    """``clean=0.2,mild=0.1,camera=0.42,strong=0.28`` as pairs."""
    try:
        return tuple((name.strip(), float(share)) for name, share in (part.split("=") for part in text.split(",")))
    except ValueError as exc:
        raise UsageError(
            f"--mix {text} is not understood.", "Write it as clean=0.2,mild=0.1,camera=0.42,strong=0.28."
        ) from exc
