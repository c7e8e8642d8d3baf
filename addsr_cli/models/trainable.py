"""The seam between training and networks: a student, its frozen teacher, and what is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from addsr_cli.models.restorer import Restorer


class TrainableModel(Protocol):
    """A student to train, and its teacher.

    ``parameters`` are those that are trained, by name; all other weights never change.
    """

    student: Restorer
    teacher: Restorer
    parameters: dict[str, nn.Parameter]

    def encode_text(
        self,
        picture: Tensor,
        tags: Sequence[str],
        drop_text: Tensor,
    ) -> Tensor | None:
        """Return text tokens (B, L, C) of pictures (B, 3, H, W) in [0, 1]; None without text.

        ``tags`` (B strings) are those that are known, "" to read them from the picture and "none"
        for no text; ``drop_text`` (B,) bool marks texts to leave out.
        """
        ...

    def encode_image(self, picture: Tensor) -> Tensor | None:
        """Return image tokens (B, N, C) of pictures (B, 3, H, W) in [0, 1]; None without any."""
        ...

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups of the optimizer, as torch takes them.

        A group's ``lr_scale``, 1 by default, multiplies its learning rate.
        """
        ...

    def read_tags(self, picture: Tensor) -> str:
        """Return the tags of a photo (1, 3, H, W), "" for a network that reads none."""
        ...

    def to(self, device: torch.device) -> None:
        """Move all networks; parameters stay the same objects."""
        ...

    def write(self, folder: Path, notes: dict[str, str]) -> None:
        """Write the student as it is now, as a model that ``--model FOLDER`` takes."""
        ...
