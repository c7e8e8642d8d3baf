"""How long photos take here, learned from those that are finished."""

from threading import Lock


class Pace:
    """Seconds per output pixel by model, from the latest photo."""

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}
        self._lock = Lock()

    def learn(self, model: str, pixels: int, seconds: float) -> None:
        """Take note that ``pixels`` of output took so many seconds."""
        with self._lock:
            self._rates[model] = seconds / pixels

    def seconds(self, model: str, pixels: int) -> float | None:
        """Return a prediction; None before anything is known of the model."""
        with self._lock:
            rate = self._rates.get(model)
        return None if rate is None else rate * pixels
