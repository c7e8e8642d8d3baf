"""Decoding large latents as AddSR's own program does: in tiles that share their statistics.

All tiles of a picture are decoded side by side. At every group norm they wait for one another, and
all are normalised by the same mean and variance, weighted by the pixels of each tile. Attention in
the middle block sees its own tile alone, so the result is close to that of one piece but not equal
to it. It serves comparisons with the published program, whose recorded tensors it reproduces.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from torch import Tensor, nn

TILE = 224  # latent pixels a side, the program's default
MARGIN = 11  # latent pixels around a tile that the decoder sees too
ROUND_TO = (32, 16, 8, 4, 2)  # tiles become a multiple of the first of these that stays in bounds

Box = tuple[slice, slice]  # rows, columns
# A tile's run through the decoder: yields every norm with its input, and is sent the output.
Run = Generator[tuple[nn.GroupNorm, Tensor], Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class DecoderTile:
    """What the decoder sees of a latent, and what it fills of the picture; in latent pixels."""

    seen: Box
    core: Box


def decode(
    vae: Any,  # noqa: ANN401 (diffusers' AutoencoderKL, whose attributes are not annotated)
    latent: Tensor,
    *,
    tile: int = TILE,
    waiting: torch.device | None = None,
) -> Tensor:
    """Return the picture (B, 3, 8h, 8w) in [-1, 1] of an unscaled latent (B, 4, h, w).

    Latents of at most ``tile`` and twice the margin a side are decoded in one piece. Tiles wait for
    one another on the device ``waiting``, by default where the latent is.
    """
    height, width = latent.shape[-2:]
    if max(height, width) <= tile + 2 * MARGIN:
        whole: Tensor = vae.decode(latent, return_dict=False)[0]
        return whole
    waiting = waiting or latent.device
    if vae.post_quant_conv is not None:
        latent = vae.post_quant_conv(latent)
    tiles = decoder_tiles(height, width, tile)
    runs = [_decoder(vae.decoder, latent[..., *each.seen], waiting) for each in tiles]
    pieces = _in_lockstep(runs, waiting)
    factor = pieces[0].shape[-1] // (tiles[0].seen[1].stop - tiles[0].seen[1].start)
    picture = latent.new_empty(
        (len(latent), pieces[0].shape[1], height * factor, width * factor),
        dtype=torch.float32,
        device=waiting,
    )
    for each, piece in zip(tiles, pieces, strict=True):
        own = _scaled(_within(each.core, each.seen), factor)
        picture[..., *_scaled(each.core, factor)] = piece[..., *own]
    return picture


def decoder_tiles(height: int, width: int, tile: int = TILE) -> list[DecoderTile]:
    """Return the tiles of a latent of this size, in rows from the top."""
    return [
        DecoderTile(seen=(row_seen, column_seen), core=(row, column))
        for row_seen, row in _sides(height, tile)
        for column_seen, column in _sides(width, tile)
    ]


def _within(box: Box, other: Box) -> Box:
    """Return ``box`` in the coordinates of ``other``."""
    rows, columns = (
        slice(side.start - outer.start, side.stop - outer.start)
        for side, outer in zip(box, other, strict=True)
    )
    return rows, columns


def _scaled(box: Box, factor: int) -> Box:
    rows, columns = (slice(side.start * factor, side.stop * factor) for side in box)
    return rows, columns


def _sides(length: int, tile: int) -> list[tuple[slice, slice]]:
    """Return for every tile along one axis what is seen and what is in the picture."""
    inner = length - 2 * MARGIN
    count = max(1, -(-inner // tile))
    side = _rounded(max(0, -(-inner // count)), tile)
    sides = []
    for index in range(count):
        start = MARGIN + index * side
        stop = min(start + side, length)
        seen = slice(max(0, start - MARGIN), min(length, stop + MARGIN))
        core = slice(
            start if start > MARGIN else 0,
            stop if stop < length - MARGIN else length,
        )
        sides.append((seen, core))
    return sides


def _rounded(side: int, most: int) -> int:
    """Return ``side`` rounded up to a multiple as coarse as ``most`` permits."""
    for multiple in ROUND_TO:
        rounded = -(-side // multiple) * multiple
        if rounded == side or rounded <= most:
            return rounded
    return side


def _in_lockstep(runs: list[Run], waiting: torch.device) -> list[Tensor]:
    """Run all tiles from norm to norm, and return what each ends with."""
    pending = [_parked(next(run), waiting) for run in runs]
    finished: list[Tensor] = []
    while not finished:
        norm = pending[0][0]
        mean, variance = _shared_statistics(norm, [x for _, x in pending])
        for index, run in enumerate(runs):
            normed = _normed(norm, pending[index][1].to(norm.weight.device), mean, variance)
            try:
                pending[index] = _parked(run.send(normed), waiting)
            except StopIteration as end:
                finished.append(end.value.to(waiting))
    return finished


def _parked(
    request: tuple[nn.GroupNorm, Tensor], waiting: torch.device
) -> tuple[nn.GroupNorm, Tensor]:
    norm, x = request
    return norm, x.to(waiting)


def _shared_statistics(norm: nn.GroupNorm, tiles: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance (B, groups, 1) over all tiles, float32.

    Both are means over the tiles, weighted by pixels; how far the tiles' means lie apart does not
    count to the variance.
    """
    total = sum(x.shape[-2] * x.shape[-1] for x in tiles)
    mean = variance = torch.zeros((), device=norm.weight.device)
    for x in tiles:
        groups = x.to(norm.weight.device).float().reshape(len(x), norm.num_groups, -1)
        own_variance, own_mean = torch.var_mean(groups, dim=-1, keepdim=True, correction=0)
        weight = x.shape[-2] * x.shape[-1] / total
        mean = mean + weight * own_mean
        variance = variance + weight * own_variance
    return mean, variance


def _normed(norm: nn.GroupNorm, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    groups = x.float().reshape(len(x), norm.num_groups, -1)
    normed = ((groups - mean) * (variance + norm.eps).rsqrt()).reshape(x.shape).to(x.dtype)
    return normed * norm.weight[:, None, None] + norm.bias[:, None, None]


def _decoder(decoder: Any, z: Tensor, waiting: torch.device) -> Run:  # noqa: ANN401 (diffusers')
    """Run diffusers' ``Decoder`` without its norms."""
    x = decoder.conv_in(z)
    middle = decoder.mid_block
    x = yield from _resnet(middle.resnets[0], x, waiting)
    for attention, resnet in zip(middle.attentions, middle.resnets[1:], strict=True):
        if attention is not None:
            x = yield from _attention(attention, x, waiting)
        x = yield from _resnet(resnet, x, waiting)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            x = yield from _resnet(resnet, x, waiting)
        for upsampler in block.upsamplers or ():
            x = upsampler(x)
    x = yield decoder.conv_norm_out, x
    picture: Tensor = decoder.conv_out(decoder.conv_act(x))
    return picture


def _resnet(block: Any, x: Tensor, waiting: torch.device) -> Run:  # noqa: ANN401 (diffusers')
    device = x.device
    residual = x.to(waiting)
    x = yield block.norm1, x
    x = block.conv1(block.nonlinearity(x))
    x = yield block.norm2, x
    x = block.conv2(block.nonlinearity(x))
    residual = residual.to(device)
    if block.conv_shortcut is not None:
        residual = block.conv_shortcut(residual)
    return (residual + x) / block.output_scale_factor


def _attention(attention: Any, x: Tensor, waiting: torch.device) -> Run:  # noqa: ANN401 (diffusers')
    """Attend within the tile; of diffusers' ``Attention`` only the norm is left out."""
    batch, channels, height, width = x.shape
    device = x.device
    residual = x.to(waiting)
    x = yield attention.group_norm, x
    tokens = x.flatten(2).transpose(1, 2)
    query, key, value = (
        project(tokens).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for project in (attention.to_q, attention.to_k, attention.to_v)
    )
    tokens = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    x = attention.to_out[0](tokens).transpose(1, 2).reshape(batch, channels, height, width)
    return (residual.to(device) + x) / attention.rescale_output_factor
