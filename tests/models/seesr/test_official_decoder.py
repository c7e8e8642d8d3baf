"""Large latents are decoded as by the official code: same tiles, shared statistics."""

import json

import pytest
import torch
from bundles import GOLDEN
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from addsr_cli.models.seesr.official_decoder import MARGIN, decode, decoder_tiles

NOTES = json.loads((GOLDEN / "vae_tiled_decode" / "tensors.json").read_text())


@pytest.fixture(scope="module")
def vae():
    return AutoencoderKL.from_pretrained(GOLDEN / "models" / "vae").float().eval()


def columns_and_rows(boxes, factor=1):
    """Return boxes in the order of the recorded ones."""
    return [[factor * at for side in (x, y) for at in (side.start, side.stop)] for y, x in boxes]


@pytest.mark.parametrize("case", NOTES["info"]["split_table"])
def test_tiles_lie_where_the_official_code_puts_them(case):
    size, _, tile = case.split()
    tiles = decoder_tiles(*map(int, size.split("x")), int(tile))
    recorded = NOTES["info"]["split_table"][case]
    seen = columns_and_rows([each.seen for each in tiles])
    core = columns_and_rows([each.core for each in tiles], 8)
    assert seen == recorded["input_bboxes_x1x2y1y2"]
    assert core == recorded["output_bboxes_x1x2y1y2"]


@pytest.mark.slow
@torch.inference_mode()
def test_a_tiled_picture_is_the_official_one(vae):
    golden = load_file(GOLDEN / "vae_tiled_decode" / "tensors.safetensors")
    ours = decode(vae, golden["in.z"], tile=8)[..., ::2, ::2]
    assert (ours - golden["out.tiled8_sub2"]).abs().max() < 1e-4


@torch.inference_mode()
def test_latents_that_fit_are_decoded_in_one_piece(vae):
    z = torch.randn(1, 4, 8 + 2 * MARGIN, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(decode(vae, z, tile=8), vae.decode(z, return_dict=False)[0])
