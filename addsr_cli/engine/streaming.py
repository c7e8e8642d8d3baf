"""``Streamed``: a ``Restorer`` that runs another one on a picture that comes in strips of rows."""

from torch import Tensor

from addsr_cli.models.restorer import Conditioning, RestorerWrapper, RowStreaming


class Streamed(RestorerWrapper):
    """Runs a ``RowStreaming`` network on one picture, strip by strip from the top.

    Its predictions lag behind its input, see ``RowStreaming``; so it serves for one step of a
    network that predicts the clean latent itself, where nothing is put beside its input. ``last``
    is to be set before the last strip.
    """

    def __init__(self, restorer: RowStreaming) -> None:
        if restorer.schedule.prediction != "sample":
            raise ValueError(f"strips need predictions of samples: {restorer.schedule.prediction}")
        super().__init__(restorer)
        self.last = False
        self._denoise = restorer.denoise_in_strips()

    def denoise(
        self,
        z: Tensor,
        t: Tensor,
        control: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        """Take a strip; return the rows that are complete, which began where those before ended."""
        return self._denoise(z, t, control, self.last)
