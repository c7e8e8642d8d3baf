"""Training of AddSR: the weights it trains of SeeSR's networks; all others are the teacher's."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from addsr_cli.errors import UsageError
from addsr_cli.files import atomic_folder, link_or_copy, remove_partial_folders
from addsr_cli.models.bundle import Bundle
from addsr_cli.models.restorer import Restorer
from addsr_cli.models.seesr.architecture import PARTS
from addsr_cli.models.seesr.dual_cross_attention import outer_name
from addsr_cli.models.seesr.loading import WEIGHTS, load_bundle
from addsr_cli.models.seesr.restorer import SeeSR

TRAINED = re.compile(r"(.*\.)?attentions\.\d+\.image\..*|controlnet_cond_embedding\..*")
ADAPTED = (
    r".*attentions\.\d+\.image\..*(to_q|to_k|to_v|to_out\.0|proj_in|proj_out|net\.0\.proj|net\.2)"
)
NETWORKS = ("unet", "controlnet")
DELTA = "delta.safetensors"


class TrainableSeeSR:
    """A ``TrainableModel`` that trains image attention and condition encoder, in float32.

    Frozen weights of the student are the teacher's own tensors, in ``dtype``. With ``lora`` above 0
    the image attention is trained through low-rank adapters of that rank. ``checkpointing``
    recomputes activations in the backward pass, in the VAE decoder too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dtype: torch.dtype,
        lora: int = 0,
        checkpointing: bool = False,
    ) -> None:
        self.folder, self.lora = folder, lora
        self._set_up(load_bundle(folder, dtype=dtype), checkpointing=checkpointing)

    def _set_up(self, teacher: SeeSR, *, checkpointing: bool) -> None:
        self.networks = {
            part: trainable_copy(getattr(teacher, part), self.lora) for part in NETWORKS
        }
        student = SeeSR(
            unet=self.networks["unet"],
            controlnet=self.networks["controlnet"],
            vae=teacher.vae,
            text=teacher.text,
            tagger=teacher.tagger,
            prompt_defaults=teacher.prompt_defaults,
        )
        self.parameters: dict[str, nn.Parameter] = {
            f"{part}.{outer_name(name)}": p
            for part, net in self.networks.items()
            for name, p in net.named_parameters()
            if p.requires_grad
        }
        if checkpointing:
            for net in (*self.networks.values(), teacher.vae):
                cast("Any", net).enable_gradient_checkpointing()
        for net in (*self.networks.values(), *([teacher.vae] if checkpointing else [])):
            net.train()  # checkpointing needs it; these networks have no dropout
        self.full = teacher
        self.student, self.teacher = cast("Restorer", student), cast("Restorer", teacher)

    @torch.no_grad()
    def encode_text(
        self,
        picture: Tensor,
        tags: Sequence[str],
        drop_text: Tensor,
    ) -> Tensor:
        """Return text tokens (B, L, C) of known tags, or of those that the tagger reads."""
        texts = self._texts(picture, tags, drop_text)
        return torch.cat([self.full.text.encode(words) for words in texts])

    @torch.no_grad()
    def encode_image(self, picture: Tensor) -> Tensor:
        """Return the tagger's image tokens (B, N, C)."""
        return self.full.tagger.encode_image(picture)

    def _texts(
        self,
        pictures: Tensor,
        tags: Sequence[str],
        drop_text: Tensor,
    ) -> Iterator[str]:
        """Yield the text of every sample: nothing, its known tags, or those read from the picture.

        A comma follows the last tag, as in SeeSR's training.
        """
        for picture, known, drop in zip(pictures, tags, drop_text.tolist(), strict=True):
            if drop or known == "none":
                yield ""
                continue
            text = known or self.read_tags(picture[None])
            yield f"{text.rstrip(', ')}," if text else ""

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Return all trained parameters as one group."""
        return [{"params": list(self.parameters.values())}]

    def read_tags(self, picture: Tensor) -> str:
        """Return the tags that the tagger reads."""
        return self.full.tagger.read(picture)[1][0]

    def to(self, device: torch.device) -> None:
        """Move all networks; shared tensors stay shared."""
        for net in (
            self.full.unet,
            self.full.controlnet,
            *self.networks.values(),
            self.full.vae,
            self.full.tagger,
        ):
            net.to(device)
        self.full.text.model.to(device)

    def write(self, folder: Path, notes: dict[str, str]) -> None:
        """Write a whole bundle in half precision, and the trained weights as a delta file."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_partial_folders(folder)
        with atomic_folder(folder, overwrite=True) as temporary:
            self._write(temporary, notes)

    def _write(self, folder: Path, notes: dict[str, str]) -> None:
        for part in PARTS:
            if part not in NETWORKS:
                shutil.copytree(
                    self.folder / part,
                    folder / part,
                    copy_function=link_or_copy,
                )
        for part, net in self.networks.items():
            (folder / part).mkdir(parents=True)
            shutil.copyfile(self.folder / part / "config.json", folder / part / "config.json")
            state = merged(net, load_file(self.folder / part / WEIGHTS))
            halves = {name: value.half().contiguous().cpu() for name, value in state.items()}
            save_file(halves, folder / part / WEIGHTS, {"format": "pt"})
        delta = {name: p.detach().half().contiguous().cpu() for name, p in self.parameters.items()}
        save_file(delta, folder / DELTA, {"format": "pt", **notes})
        base = Bundle.read(self.folder)
        replace(
            base,
            name="addsr-distilled",
            scheduler="consistency",
            default_steps=4,
            guidance=1.0,
        ).write(folder)


def trainable_copy(net: nn.Module, lora: int = 0) -> nn.Module:
    """Copy ``net``: parameters that AddSR trains become float32 copies, all others are shared."""
    own = {name for name, _ in net.named_parameters() if TRAINED.fullmatch(name)}
    shared = {
        id(p): p
        for name, p in net.named_parameters()
        if name not in own or (lora and ".image." in name)
    }
    copy = deepcopy(net, shared)
    for name, p in copy.named_parameters():
        if name in own and not (lora and ".image." in name):
            p.data = p.data.float()
            p.requires_grad_(True)
    return _adapted(copy, lora) if lora else copy


def _adapted(net: nn.Module, rank: int) -> nn.Module:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as exc:
        raise UsageError("--lora needs the package peft.", 'pip install "addsr[lora]"') from exc
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=ADAPTED,
    )
    encoder = {name for name, p in net.named_parameters() if p.requires_grad}
    adapted: nn.Module = inject_adapter_in_model(config, net)
    for name, p in adapted.named_parameters():
        p.requires_grad_(name in encoder or "lora_" in name)
        if "lora_" in name:
            p.data = p.data.float()
    return adapted


@torch.no_grad()
def merged(net: nn.Module, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the file ``net`` came from, with trained ones replaced or added.

    Frozen weights come from the file, since ``net`` has them in the precision of the run.
    """
    state = dict(base)
    for name, p in net.named_parameters():
        if p.requires_grad and ".lora_" not in name:
            state[outer_name(name)] = p
    for name, module in net.named_modules():
        if hasattr(module, "get_delta_weight"):
            key = outer_name(f"{name}.weight")
            state[key] = base[key].float() + module.get_delta_weight("default").cpu()
    return state
