"""Which picture conditions which network: the original (HR) or the canvas (LR).

In the paper the student's control image, image tokens and text come from LR, the teacher's from HR.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from addsr_cli.models.restorer import Conditioning
from addsr_cli.models.trainable import TrainableModel
from addsr_cli.train.objectives.base import Batch
from addsr_cli.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What student and teacher read of a batch; ``teacher_control`` is (B, 3, H, W) in [0, 1].

    The student's control image is the canvas at its first step, and by PSR later.
    """

    student: Conditioning
    teacher: Conditioning
    teacher_control: Tensor


@torch.no_grad()
def conditions_of(
    model: TrainableModel,
    recipe: Recipe,
    batch: Batch,
    drop_text: Tensor,
) -> Conditions:
    """Encode the texts and pictures of a batch, each of them once.

    ``drop_text`` (B,) bool marks the samples whose text is left out, for both networks.
    """
    pictures = {"hr": batch.hr, "lr": batch.canvas}
    sources = {
        name: "hr" if name in recipe.teacher_sees else "lr"
        for name in ("control", "tagger", "text")
    }
    texts = {
        source: model.encode_text(pictures[source], tags_for(source, batch.tags), drop_text)
        for source in {recipe.student_text, sources["text"]}
    }
    tokens = {source: model.encode_image(pictures[source]) for source in {"lr", sources["tagger"]}}
    return Conditions(
        student=Conditioning(text=texts[recipe.student_text], image=tokens["lr"]),
        teacher=Conditioning(text=texts[sources["text"]], image=tokens[sources["tagger"]]),
        teacher_control=pictures[sources["control"]],
    )


def tags_for(source: str, tags: Sequence[str]) -> list[str]:
    """Return the tags that are known of a picture: those of the data describe HR alone.

    "none" stays for both: it stands for no text at all.
    """
    return [known if source == "hr" or known == "none" else "" for known in tags]
