"""Text for people: counts, sizes, durations and errors, each on one line."""

from addsr_cli.cli.escape import printable
from addsr_cli.errors import AddsrError


def pluralize(
    count: int,
    singular: str,
    plural: str = "",
) -> str:
    """1, "step" -> '1 step'; 4, "step" -> '4 steps'."""
    if count == 1:
        return f"1 {singular}"
    return f"{count} {plural or singular + 's'}"


def format_bytes(count: float) -> str:
    """1234567 -> '1.2 MB'; units are powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_seconds(seconds: float) -> str:
    """75 -> '1 min 15 s'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {rest} s"
    return f"{rest} s"


def error_line(exc: AddsrError, label: str = "") -> str:
    """Format an error as one line; ``label`` comes first unless the message contains it."""
    line = f"error: {exc.message}"
    if label and label not in exc.message:
        line = f"error: {label}: {exc.message}"
    if exc.hint:
        line += f" {exc.hint}"
    return printable(line)
