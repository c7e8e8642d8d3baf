"""What is trained, behind one face: a student and its frozen teacher as restorers, and how the result is written."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from addsr_cli.files import atomic_file, remove_partial_files
from addsr_cli.models.bundle import Bundle, single_file
from addsr_cli.models.nano.restorer import Nano, NanoConfig, build_nano, load_nano, save_nano
from addsr_cli.models.restorer import Conditioning, Restorer
from addsr_cli.models.single_pass.esrgan import OnePassTeacher, is_esrgan, load_esrgan
from addsr_cli.weights import loader

OWN_LICENCE = "whatever the photos allow that it was trained on"
TINY = NanoConfig(
    groups=(1, 1),
    width=16,
    growth=8,
    embedding=16,
)


class TrainableModel(Protocol):
    """A student to train. ``parameters`` holds what is trained, by name; everything else of it never changes."""

    student: Restorer
    teacher: Restorer
    parameters: dict[str, nn.Parameter]

    def conditions(
        self,
        hr: Tensor,
        canvas: Tensor,
        tags: Sequence[str],
        blank: Tensor,
    ) -> tuple[Conditioning, Conditioning]:
        """What the student is told about the canvas and the teacher about HR (B rows each).

        ``tags`` (B strings) come with the data, "" to read them off HR; ``blank`` (B,) marks texts
        to leave out.
        """
        ...

    def read_tags(self, picture: Tensor) -> str:
        """Tags of a whole photo (1, 3, H, W), "" for a network that reads none."""
        ...

    def to(self, device: torch.device) -> None:
        """Move everything; parameters stay the same objects."""
        ...

    def write(self, folder: Path, notes: dict[str, str]) -> None:
        """Write the student as it is now, in the form that ``--model`` takes."""
        ...


class TrainableNano:
    """Nano: all of it is trained; it reads neither text nor image tokens."""

    def __init__(self, student: Nano, teacher: Nano | OnePassTeacher | None = None) -> None:
        frozen = teacher or Nano(deepcopy(student.net))
        frozen.net.eval().requires_grad_(False)
        self.net = student.net.train()
        self.frozen = frozen.net
        self.student, self.teacher = cast("Restorer", student), cast("Restorer", frozen)
        self.parameters = dict(student.net.named_parameters())

    def conditions(
        self,
        hr: Tensor,
        canvas: Tensor,
        tags: Sequence[str],
        blank: Tensor,
    ) -> tuple[Conditioning, Conditioning]:
        """Nothing to tell."""
        return Conditioning(), Conditioning()

    def read_tags(self, picture: Tensor) -> str:
        """None."""
        return ""

    def to(self, device: torch.device) -> None:
        """Move both networks."""
        self.net.to(device)
        self.frozen.to(device)

    def write(self, folder: Path, notes: dict[str, str]) -> None:
        """One half-precision file, complete or not there."""
        remove_partial_files(folder)
        with atomic_file(folder / single_file("nano")) as temporary:
            save_nano(self.net, temporary, notes, torch.float16)
        count = sum(p.numel() for p in self.parameters.values())
        Bundle(
            name="nano-trained",
            arch="nano",
            parameters=count,
            licence=OWN_LICENCE,
            shortest_side=0,
        ).write(folder)


def trainable_nano(
    arch: str,
    stage: str,
    init: Path | None,
    teacher: str,
) -> TrainableNano:
    """The learner of ``--arch nano`` or ``tiny``: fresh weights to train a teacher, else a copy of the teacher's.

    A ``teacher`` of another kind, a file of ``save_esrgan``, teaches what ``init`` holds, or the
    bundled small.
    """
    if stage == "teacher":
        return TrainableNano(load_nano(init) if init else fresh(arch))
    if is_esrgan(teacher):
        student = (
            fresh(arch)
            if arch == "tiny" and not init
            else load_nano(init or loader.locate("small").file)
        )
        return TrainableNano(student, OnePassTeacher(load_esrgan(Path(teacher)), student))
    master = (
        fresh(arch)
        if arch == "tiny" and not teacher
        else load_nano(loader.locate(teacher or "nano").file)
    )
    student = load_nano(init) if init else Nano(deepcopy(master.net))
    return TrainableNano(student, master)


def fresh(arch: str) -> Nano:
    """New random weights."""
    return build_nano(TINY if arch == "tiny" else None)
