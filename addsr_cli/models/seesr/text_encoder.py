"""Stable Diffusion 2's CLIP text encoder, and the prompt as the official code assembles it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from addsr_cli.errors import ModelUnavailable

# "!": Stable Diffusion 2 was trained with it, though newer tokenizer files name another token
PADDING = 0


def assemble(
    tags: str,
    prompt: str,
    added: str,
) -> str:
    """Join tags, the user's prompt and quality words like the official code."""
    return f"{tags}, {prompt},{added}"


@dataclass(frozen=True, kw_only=True)
class TextEncoder:
    """Tokenizer and text model of one bundle."""

    tokenizer: Any
    model: Any

    def __post_init__(self) -> None:
        """Raise ModelUnavailable for another padding: the networks attend to padding tokens."""
        if self.tokenizer.pad_token_id != PADDING:
            raise ModelUnavailable(
                f"The tokenizer pads with id {self.tokenizer.pad_token_id}, not {PADDING}.",
                "Its special_tokens_map.json must be that of Stable Diffusion 2-base.",
            )

    def ids(self, text: str) -> Tensor:
        """Return token ids (1, 77), int64, truncated and padded."""
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(
            text,
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        )
        ids: Tensor = tokens.input_ids
        return ids

    def too_long(self, text: str) -> int:
        """Return how many tokens of ``text`` are truncated."""
        ids = self.tokenizer(text, truncation=False, verbose=False).input_ids
        return max(0, len(ids) - self.tokenizer.model_max_length)

    @torch.no_grad()
    def encode(self, text: str) -> Tensor:
        """Return text tokens (1, 77, C) in the model's dtype: the last hidden state, normalized."""
        tokens: Tensor = self.model(self.ids(text).to(self.model.device))[0]
        return tokens
