"""Whether what a network returned can be a picture."""


class InvalidOutput(ArithmeticError):
    """The network returned NaN, infinity, or one flat colour for a picture that has detail."""


def first_line(exc: BaseException) -> str:
    """Return the first line of the message, at most 120 characters; the type's name without one."""
    if not str(exc):
        return type(exc).__name__
    return str(exc).splitlines()[0][:120]
