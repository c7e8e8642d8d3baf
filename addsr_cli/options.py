"""How a field of a dataclass is offered as a command line option.

A dataclass that the library takes declares its options itself, so that command and library share
one declaration of name, type, default, help and environment variable::

    @dataclass(frozen=True, kw_only=True)
    class Machine:
        device: Annotated[str, Option("auto, cpu, cuda, cuda:N or mps.", MACHINE)] = "auto"

Nothing here knows a command line parser; ``cli.options`` turns the declarations into one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from functools import cache
from keyword import iskeyword
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from addsr_cli.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    D = TypeVar("D", bound=DataclassInstance)

N = TypeVar("N", int, float)

QUALITY, SIZE, OUTPUT, MACHINE, MESSAGES = "Quality", "Size", "Output", "Machine", "Messages"

MIN_MEMORY = 10**6  # bytes; a smaller amount is most likely missing its unit
UNITS = ("", "K", "M", "G", "T")  # powers of 1000 or 1024


@dataclass(frozen=True)
class Option:
    """The command line side of a field; attach it to the field's type with ``Annotated``.

    ``flags`` default to the field's name with hyphens; a pair of switches is one flag, as in
    ``--offload/--no-offload``. ``parse`` turns text into the field's type and raises UsageError.
    ``default`` is what the help shows where the field's own default (often None) does not say it.
    ``variable`` tells whether ``ADDSR_NAME`` in the environment sets the option.
    """

    help: str
    panel: str = ""
    flags: tuple[str, ...] = ()
    default: str = ""
    parse: Callable[[str], Any] | None = None
    metavar: str | None = None
    variable: bool = True
    case_sensitive: bool = True

    prefix: ClassVar[str] = "ADDSR_"

    def flag(self, field_name: str) -> str:
        """The flag that is declared first, such as ``--max-memory``."""
        return self.flags[0] if self.flags else f"--{field_name.replace('_', '-')}"

    def name(self, field_name: str) -> str:
        """The name in configuration files, such as ``max_memory``."""
        name = self.flag(field_name).split("/")[0].removeprefix("--").replace("-", "_")
        return field_name if iskeyword(name) else name  # --for is `intent`

    def environment_variable(self, field_name: str) -> str | None:
        """The environment variable, such as ``ADDSR_MAX_MEMORY``; None when there is none."""
        return self.prefix + self.name(field_name).upper() if self.variable else None


def option_of(annotation: object) -> Option | None:
    """The Option in the metadata of an annotation, or None."""
    if get_origin(annotation) is not Annotated:
        return None
    metadata = get_args(annotation)[1:]
    return next((entry for entry in metadata if isinstance(entry, Option)), None)


@cache
def annotated_fields(cls: type) -> list[tuple["Field[Any]", Any]]:
    """Every field of a dataclass with its resolved annotation, ``Annotated`` metadata included."""
    annotations = get_type_hints(cls, include_extras=True)
    return [(field, annotations[field.name]) for field in fields(cls)]


def default_of(field: "Field[Any]") -> Any:  # noqa: ANN401 (the field's type)
    """The default of a field; ``dataclasses.MISSING`` when it is required."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def with_overrides(instance: "D", overrides: Mapping[str, Any]) -> "D":
    """A copy of a dataclass with some values replaced; nested mappings reach nested dataclasses."""
    values = {
        name: with_overrides(getattr(instance, name), value)
        if is_dataclass(getattr(instance, name))
        else value
        for name, value in overrides.items()
    }
    return replace(instance, **values)


def check_choices(instance: "DataclassInstance") -> None:
    """Raise UsageError for a value outside the ``Literal`` of its field."""
    for name, flag, choices in _fields_with_choices(type(instance)):
        value = getattr(instance, name)
        if value not in choices:
            raise UsageError(f"{flag} must be one of {', '.join(map(str, choices))}, not {value}.")


@cache
def _fields_with_choices(cls: type) -> list[tuple[str, str, tuple[Any, ...]]]:
    """Name, flag and choices of every field that has choices."""
    entries = []
    for field, annotation in annotated_fields(cls):
        choices = _choices(annotation)
        if choices:
            option = option_of(annotation)
            flag = option.flag(field.name) if option else field.name
            entries.append((field.name, flag, choices))
    return entries


def _choices(annotation: object) -> tuple[Any, ...]:
    """The values that ``Literal[...]`` or ``Literal[...] | None`` allows; empty for other types."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) not in (Union, UnionType):
        return ()
    members = get_args(annotation)
    literals = [member for member in members if get_origin(member) is Literal]
    if not literals or len(literals) < len([each for each in members if each is not NoneType]):
        return ()  # any number is allowed beside the literals
    return (*get_args(literals[0]), None) if type(None) in members else get_args(literals[0])


def parse_auto(flag: str, number: type[N]) -> Callable[[str], N | Literal["auto"]]:
    """A parser of a number of this type, or ``auto``. It raises UsageError."""

    def parse(text: str) -> N | Literal["auto"]:
        if text == "auto":
            return "auto"
        try:
            return number(text)
        except ValueError as exc:
            raise UsageError(
                f"{flag} {text} is not a number.", f"Use {flag} auto or a number."
            ) from exc

    return parse


def parse_pixels(flag: str) -> Callable[[str], int | None]:
    """A parser of a number of pixels, in which ``auto`` is None. It raises UsageError."""

    def parse(text: str) -> int | None:
        if text == "auto":
            return None
        if not text.isdecimal():
            raise UsageError(
                f"{flag} {text} is not a number of pixels.",
                f"Use {flag} auto or a whole number.",
            )
        return int(text)

    return parse


def parse_memory(
    text: str,
    flag: str = "--max-memory",
    *,
    binary: bool = False,
) -> int:
    """``2G``, ``500MB`` or ``1.5GiB`` in bytes. Raises UsageError.

    ``binary`` reads G as GiB, the way the makers of GPUs count.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{flag} {text} is not an amount of memory.", "Write it as 2G or 500M.")
    unit = match[2].upper()
    base = 1024 if match[3] or binary else 1000
    size = int(float(match[1]) * base ** UNITS.index(unit))
    if size < MIN_MEMORY:
        example = f" as {match[1]}G or {match[1]}M" if not unit else ", such as 2G"
        raise UsageError(
            f"{flag} {text} is less than 1 MB.", f"Write the amount with its unit{example}."
        )
    return size


def parse_scale(text: str) -> float:
    """``4``, ``4x`` or ``x2.5`` as a factor. Raises UsageError."""
    try:
        return float(text.strip().lower().removeprefix("x").removesuffix("x"))
    except ValueError as exc:
        raise UsageError(f"--scale {text} is not a factor.", "Write it as 4, 2.5 or 4x.") from exc
