"""Build a command's options from the dataclasses that it takes.

``takes_options`` replaces every parameter whose type is a dataclass by one option per field that
declares one (see ``addsr_cli.options``), and calls the command with the dataclass::

    @takes_options
    def doctor(model: Model = "auto", machine: Annotated[Machine, Only("device")]) -> None: ...
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer

from addsr_cli.cli.completion import COMPLETIONS
from addsr_cli.options import Option, annotated_fields, default_of, option_of


class Only:
    """Metadata of a parameter: offer only these options of its dataclass."""

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)


@dataclass(frozen=True)
class OverridesOf:
    """Metadata of a mapping: the values that the user set for fields of ``cls``, by field name.

    No option has a default then. Values of a nested dataclass are a mapping of their own.
    """

    cls: type


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the dataclasses among its parameters.

    A parameter of the command itself takes precedence over a field of the same name.
    """
    groups: dict[str, _Group] = {}
    parameters: dict[str, Parameter] = {}
    for parameter in signature(command).parameters.values():
        group = _group_of(parameter.annotation)
        if group is not None:
            groups[parameter.name] = group
            continue
        option = option_of(parameter.annotation)
        if option is not None:
            typed = _parameter(
                parameter.name,
                parameter.annotation,
                option,
                parameter.default,
            )
            parameter = typed.replace(kind=parameter.kind)
        parameters[parameter.name] = parameter
    own = list(parameters)
    for group in groups.values():
        for parameter in group.parameters():
            parameters.setdefault(parameter.name, parameter)

    @wraps(command)
    def parsed(**values: Any) -> None:  # noqa: ANN401 (whatever the options hold)
        arguments = {name: values[name] for name in own}
        for name, group in groups.items():
            arguments[name] = group.value(values)
        command(**arguments)

    parsed.__signature__ = Signature(list(parameters.values()))  # type: ignore[attr-defined]  # what typer reads
    return parsed


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The options of one dataclass; ``only`` None means all of them."""

    cls: type
    only: frozenset[str] | None = None
    overrides: bool = False

    def parameters(self) -> Iterator[Parameter]:
        """One parameter per option, nested dataclasses included."""
        for field, annotation in annotated_fields(self.cls):
            option = option_of(annotation)
            if option is None:
                if is_dataclass(annotation):
                    yield from self._nested(annotation).parameters()
            elif self._offers(option.name(field.name)):
                yield self._parameter(field, annotation, option)

    def value(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 (the dataclass, or overrides)
        """The dataclass made of the parsed ``values``, or the mapping of overrides."""
        arguments: dict[str, Any] = {}
        for field, annotation in annotated_fields(self.cls):
            option = option_of(annotation)
            if option is None:
                if is_dataclass(annotation):
                    arguments[field.name] = self._nested(annotation).value(values)
                continue
            name = option.name(field.name)
            if not self._offers(name):
                continue
            value = values[name]
            if _is_repeatable(annotation, option):
                value = tuple(value or ()) or None
            # None stands for an option that was not set, so that the field's default applies
            if value is not None:
                arguments[field.name] = value
        return arguments if self.overrides else self.cls(**arguments)

    def _offers(self, name: str) -> bool:
        return self.only is None or name in self.only

    def _nested(self, annotation: Any) -> "_Group":  # noqa: ANN401 (a dataclass type)
        return _Group(
            cls=annotation,
            only=self.only,
            overrides=self.overrides,
        )

    def _parameter(
        self,
        field: "Field[Any]",
        annotation: Any,  # noqa: ANN401 (a type)
        option: Option,
    ) -> Parameter:
        name = option.name(field.name)
        default = default_of(field)
        if self.overrides:
            shown = option.default or _shown_default(default)
            return _parameter(name, annotation, option, None, shown)
        return _parameter(
            name,
            annotation,
            option,
            default,
            option.default,
        )


def _group_of(annotation: Any) -> _Group | None:  # noqa: ANN401 (a type)
    """The options that a parameter stands for; None for a parameter that is one option itself."""
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _Group(cls=annotation)
    if get_origin(annotation) is not Annotated:
        return None
    base, *metadata = get_args(annotation)
    for entry in metadata:
        if isinstance(entry, Only):
            return _Group(cls=base, only=entry.names)
        if isinstance(entry, OverridesOf):
            return _Group(cls=entry.cls, overrides=True)
    return None


def _parameter(
    name: str,
    annotation: Any,  # noqa: ANN401 (a type)
    option: Option,
    default: Any,  # noqa: ANN401 (the type of the option)
    shown_default: str = "",
) -> Parameter:
    """A parameter as typer reads it. ``shown_default`` replaces the default in the help."""
    repeatable = _is_repeatable(annotation, option)
    if default is MISSING:
        default = Parameter.empty
    elif repeatable or option.parse:
        default = None
    shown_default = shown_default or option.default
    flag = option.flag(name)
    info = typer.Option(
        flag,
        *option.flags[1:],
        help=f"{option.help} [default: {shown_default}]" if shown_default else option.help,
        rich_help_panel=option.panel or None,
        envvar=option.environment_variable(name),
        show_envvar=False,
        show_default=not shown_default,
        case_sensitive=option.case_sensitive,
        metavar=option.metavar,
        parser=_text_parser(option.parse) if option.parse else None,
        autocompletion=COMPLETIONS.get(flag),
    )
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[_typer_type(annotation, option, optional=default is None), info],
    )


def _text_parser(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Also take the numbers that a configuration file may hold in place of text."""
    return lambda value: parse(str(value))


def _typer_type(
    annotation: Any,  # noqa: ANN401 (a type)
    option: Option,
    *,
    optional: bool,
) -> Any:  # noqa: ANN401 (a type)
    """The type that typer should parse: text for a parser, a list for an option that repeats."""
    base = _base_type(annotation)
    if option.parse:
        base = str
    elif _is_repeatable(annotation, option):
        base = list[get_args(base)[0]]  # type: ignore[misc]  # a type that is known when it runs
    return base | None if optional else base


def _base_type(annotation: Any) -> Any:  # noqa: ANN401 (types)
    """The type without its metadata and without ``| None``."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return members[0]
    return annotation


def _is_repeatable(annotation: Any, option: Option) -> bool:  # noqa: ANN401 (a type)
    """Whether the option may be given several times: its field is a tuple of any length."""
    base = _base_type(annotation)
    return option.parse is None and get_origin(base) is tuple and get_args(base)[-1] is Ellipsis


def _shown_default(value: Any) -> str:  # noqa: ANN401 (any default)
    """A default as the help shows it; empty for switches and for values that say nothing."""
    if value in (None, "", (), MISSING) or isinstance(value, bool):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
