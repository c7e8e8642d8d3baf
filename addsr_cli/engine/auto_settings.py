"""``--steps auto`` and ``--fidelity auto``: settings that follow from the damage of a photo."""

from dataclasses import dataclass, replace
from typing import Any

from addsr_cli.damage import Damage, estimate
from addsr_cli.imageio import Photo
from addsr_cli.settings import DEFAULT_FIDELITY, Settings

# Up to these a photo counts as clean: photos of good cameras are below all three.
CLEAN_NOISE = 3.0  # levels of 255
CLEAN_QUALITY = 85  # of JPEG
CLEAN_BLUR = 0.6  # pixels
# A clean photo tells most of what there is: a sampler of several steps needs fewer of them.
CLEAN_FIDELITY = 0.7
# One step changes too little, and more of its change brings the picture nearer; but what it leaves
# of noise, or of the dots of a print, grows along (scripts/compare_auto.py).
QUIET_NOISE = 1.5  # levels of 255
QUIET_FIDELITY = 0.375


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a photo was found to be like, and what was decided; None is the model's own value."""

    damage: Damage
    fidelity: float
    steps: int | None
    psr: float | None

    def record(self) -> dict[str, Any]:
        """Return the fields of the JSON record."""
        return {
            "damage": self.damage.record(),
            "fidelity": self.fidelity,
            "steps": self.steps,
            "psr": self.psr,
        }


def is_clean(damage: Damage) -> bool:
    """Return whether a photo has neither noise nor compression nor blur that one would notice."""
    return (
        damage.noise <= CLEAN_NOISE
        and (damage.jpeg_quality or 100) >= CLEAN_QUALITY
        and (damage.blur or 0) <= CLEAN_BLUR
    )


def decided(
    photo: Photo,
    settings: Settings,
    default_steps: int,
) -> tuple[Settings, Decision | None]:
    """Return the settings with numbers for ``auto``, and the decision; None where none is asked.

    ``default_steps`` are the model's own, 0 for a network that answers in one pass.
    """
    if not settings.is_auto:
        return settings, None
    damage = estimate(photo)
    fidelity = _fidelity(damage, default_steps)
    dial = Settings(fidelity=fidelity)
    if settings.fidelity == "auto":
        settings = replace(settings, fidelity=fidelity)
    if settings.steps == "auto":
        steps = dial.effective_steps(default_steps) if default_steps else None
        psr = dial.effective_psr if settings.psr is None and default_steps > 1 else settings.psr
        settings = replace(settings, steps=steps, psr=psr)
    decision = Decision(
        damage=damage,
        fidelity=DEFAULT_FIDELITY if settings.dial is None else settings.dial,
        steps=settings.effective_steps(default_steps) if default_steps else None,
        psr=settings.effective_psr if default_steps > 1 else None,
    )
    return settings, decision


def _fidelity(damage: Damage, default_steps: int) -> float:
    if default_steps > 1:
        return CLEAN_FIDELITY if is_clean(damage) else DEFAULT_FIDELITY
    if default_steps == 1 and damage.noise <= QUIET_NOISE:
        return QUIET_FIDELITY
    return DEFAULT_FIDELITY
