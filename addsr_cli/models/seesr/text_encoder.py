"""Words to text tokens: Stable Diffusion 2's CLIP, and the prompt as the official code assembles it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from addsr_cli.errors import ModelUnavailable

PADDING = (
    0  # "!": what Stable Diffusion 2 was trained with, though newer tokenizer files name another
)


def assemble(tags: str, prompt: str, added: str) -> str:
    """The official prompt: tags, the user's words, quality words, joined as ``"{tags}, {prompt},{added}"``."""
    return f"{tags}, {prompt},{added}"


@dataclass(frozen=True, kw_only=True)
class TextEncoder:
    """Tokenizer and text model of one bundle."""

    tokenizer: Any
    model: Any

    def __post_init__(self) -> None:
        """The networks were trained with "!" as padding, all of which they attend to."""
        if self.tokenizer.pad_token_id != PADDING:
            raise ModelUnavailable(
                f"The tokenizer pads with id {self.tokenizer.pad_token_id}, not {PADDING}.",
                "Its special_tokens_map.json must be that of Stable Diffusion 2-base.",
            )

    def ids(self, text: str) -> Tensor:
        """Token ids (1, 77), int64, cut and padded."""
        length = self.tokenizer.model_max_length
        made = self.tokenizer(
            text,
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        )
        ids: Tensor = made.input_ids
        return ids

    def too_long(self, text: str) -> int:
        """How many tokens of ``text`` are cut off."""
        found = self.tokenizer(text, truncation=False, verbose=False).input_ids
        return max(0, len(found) - self.tokenizer.model_max_length)

    @torch.no_grad()
    def encode(self, text: str) -> Tensor:
        """Text tokens (1, 77, C), in the model's type: the last hidden state after its norm."""
        tokens: Tensor = self.model(self.ids(text).to(self.model.device))[0]
        return tokens
