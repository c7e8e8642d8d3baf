"""Training of nano: all weights are trained; there is neither text nor a tagger."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from addsr_cli.files import atomic_file, remove_partial_files
from addsr_cli.models.architecture import TrainingCost, TrainingOptions, Workload
from addsr_cli.models.bundle import Bundle, single_file
from addsr_cli.models.measurement import measured_pass
from addsr_cli.models.nano.restorer import Nano, NanoConfig, build_nano, load_nano, save_nano
from addsr_cli.models.restorer import Restorer
from addsr_cli.models.single_pass.teacher import OnePassTeacher, is_esrgan, load_esrgan

OWN_LICENCE = "whatever the photos allow that it was trained on"
TINY = NanoConfig(
    groups=(1, 1),
    width=16,
    growth=8,
    detail=16,
    embedding=16,
)
PASSES = 3  # cost of a trained pass in forward passes: one forward, two backward


class TrainableNano:
    """A ``TrainableModel`` around a student and a frozen teacher, by default a copy of it."""

    def __init__(self, student: Nano, teacher: Nano | OnePassTeacher | None = None) -> None:
        frozen = teacher or Nano(deepcopy(student.net))
        frozen.net.eval().requires_grad_(False)
        self.net = student.net.train()
        self.frozen = frozen.net
        self.student = cast("Restorer", student)
        self.teacher = cast("Restorer", frozen)
        self.parameters = dict(student.net.named_parameters())

    def encode_text(
        self,
        picture: Tensor,
        tags: Sequence[str],
        drop_text: Tensor,
    ) -> None:
        """Return None: nano reads no text."""

    def encode_image(self, picture: Tensor) -> None:
        """Return None: nano reads no image tokens."""

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Return all parameters as one group."""
        return [{"params": list(self.parameters.values())}]

    def read_tags(self, picture: Tensor) -> str:
        """Return ""."""
        return ""

    def to(self, device: torch.device) -> None:
        """Move both networks."""
        self.net.to(device)
        self.frozen.to(device)

    def write(self, folder: Path, notes: dict[str, str]) -> None:
        """Write a half-precision file and its record; the file is complete or absent."""
        remove_partial_files(folder)
        with atomic_file(folder / single_file("nano")) as temporary:
            save_nano(self.net, temporary, notes, torch.float16)
        Bundle(
            name="nano-trained",
            arch="nano",
            parameters=_count(self.net),
            licence=OWN_LICENCE,
            shortest_side=0,
        ).write(folder)


def build_trainable(options: TrainingOptions, fresh: NanoConfig | None = None) -> TrainableNano:
    """Build the student and the teacher of ``--arch nano``, or ``tiny-nano``.

    A teacher to be trained starts from ``options.init`` or from new weights of size ``fresh``
    (None: nano's). A student starts from ``options.init`` or as a copy of its teacher. Where the
    teacher is a Real-ESRGAN generator, which has no copy, it starts as the bundled small. With
    ``fresh``, new weights take the place of the bundled ones. Raises ModelUnavailable.
    """
    if options.stage == "teacher":
        return TrainableNano(load_nano(options.init) if options.init else build_nano(fresh))
    if is_esrgan(options.teacher):
        student = _begin(options, fresh, "small")
        return TrainableNano(student, OnePassTeacher(load_esrgan(Path(options.teacher)), student))
    if fresh and not options.teacher:
        teacher = build_nano(fresh)
    else:
        teacher = load_nano(options.locate(options.teacher or "nano"))
    student = load_nano(options.init) if options.init else Nano(deepcopy(teacher.net))
    return TrainableNano(student, teacher)


def _begin(
    options: TrainingOptions,
    fresh: NanoConfig | None,
    bundled: str,
) -> Nano:
    if options.init:
        return load_nano(options.init)
    return build_nano(fresh) if fresh else load_nano(options.locate(bundled))


def training_cost(
    options: TrainingOptions,
    work: Workload,
    fresh: NanoConfig | None = None,
) -> TrainingCost:
    """Measure student and teacher, which are small enough to run once on a small picture."""
    model = build_trainable(options, fresh)
    dtype = torch.float32 if work.bytes_per_number == 4 else torch.bfloat16
    pixels = work.crop**2
    saved, flop = measured_pass(model.student, dtype)
    passes = PASSES + work.earlier_passes + work.accumulates
    per_pixel = passes * flop
    if work.teacher_passes:
        _, teacher_flop = measured_pass(model.teacher, dtype)
        per_pixel += work.teacher_passes * teacher_flop
    trained = _count(model.net)
    return TrainingCost(
        parameters=trained,
        trained=trained,
        frozen=4 * _count(model.frozen),
        copies=0,
        activations=int(saved * pixels * work.batch_size),
        tflop=pixels * per_pixel / 1e12,
    )


def _count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())
