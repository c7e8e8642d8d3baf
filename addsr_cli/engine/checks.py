"""Whether what a network returned can be a picture."""


class InvalidOutput(ArithmeticError):
    """The network returned NaN, infinity, or one flat colour for a picture that has detail."""
