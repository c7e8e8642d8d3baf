"""Values of the options that say how photos are degraded."""

from addsr_cli.errors import UsageError

EVERYDAY = (  # the default share of each degradation
    ("clean", 0.16),
    ("mild", 0.12),
    ("camera", 0.30),
    ("strong", 0.16),
    ("sensor", 0.08),
    ("chroma", 0.07),
    ("blocks", 0.08),
    ("print", 0.03),
)
MIX_TEXT = ", ".join(f"{name}={share:g}" for name, share in EVERYDAY)  # for --help


def parse_scales(text: str) -> tuple[float, float]:
    """``1:4``, or ``4`` for one alone, as lowest and highest factor."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high or low)
    except ValueError as exc:
        raise UsageError(f"--scales {text} is not understood.", "Write it as 1:4, or 4.") from exc


def parse_mix(text: str) -> tuple[tuple[str, float], ...]:
    """``clean=0.2,mild=0.1,camera=0.42,strong=0.28`` as pairs."""
    try:
        return tuple(
            (name.strip(), float(share))
            for name, share in (part.split("=") for part in text.split(","))
        )
    except ValueError as exc:
        raise UsageError(
            f"--mix {text} is not understood.",
            "Write it as clean=0.2,mild=0.1,camera=0.42,strong=0.28.",
        ) from exc
