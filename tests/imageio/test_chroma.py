"""The reference is bilinear interpolation written out for one axis at a time."""

from io import BytesIO

import numpy as np
import pillow_heif
import pytest
from imageio_samples import smooth

from addsr_cli.imageio import chroma, read
from addsr_cli.imageio.chroma import smooth_chroma

TO_YCC = np.array(  # BT.601
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
BLOCKS = {420: (2, 2), 422: (1, 2)}


def colourful(height, width):
    """Soft edges between saturated colours, uint8, none of them near black or white."""
    ramps = smooth(height, width).astype(float)
    waves = np.sin(np.arange(height) / 2)[:, None] + np.sin(np.arange(width) / 2)
    stripes = 30 * waves[:, :, None] * (1, -1, 0.5)
    return np.rint(np.clip(ramps, 70, 180) + stripes).astype(np.uint8)


def mean_of_pairs(values, axis):
    values = np.moveaxis(values, axis, 0)
    if len(values) % 2:
        values = np.concatenate([values, values[-1:]])
    return np.moveaxis((values[0::2] + values[1::2]) / 2, 0, axis)


def doubled(values, axis, interpolate):
    values = np.moveaxis(values, axis, 0)
    before = np.concatenate([values[:1], values[:-1]])
    after = np.concatenate([values[1:], values[-1:]])
    share = 0.25 if interpolate else 0.0
    out = np.empty((2 * len(values), *values.shape[1:]))
    out[0::2] = values + share * (before - values)
    out[1::2] = values + share * (after - values)
    return np.moveaxis(out, 0, axis)


def subsampled(rgb, subsampling, interpolate):
    """Return RGB whose chroma was stored at a lower resolution, and restored in either way."""
    ycc = rgb @ TO_YCC.T
    colour = ycc[..., 1:]
    axes = [axis for axis, step in enumerate(BLOCKS[subsampling]) if step == 2]
    for axis in axes:
        colour = mean_of_pairs(colour, axis)
    for axis in axes:
        colour = doubled(colour, axis, interpolate)
    ycc[..., 1:] = colour[: rgb.shape[0], : rgb.shape[1]]
    return np.clip(np.rint(ycc @ np.linalg.inv(TO_YCC).T), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("subsampling", [420, 422])
@pytest.mark.parametrize("band", [8, 256])
def test_repeated_chroma_is_interpolated_whatever_the_bands(subsampling, band, monkeypatch):
    monkeypatch.setattr(chroma, "_BAND", band)
    rgb = colourful(37, 51)
    repeated = subsampled(rgb, subsampling, interpolate=False)
    wanted = subsampled(rgb, subsampling, interpolate=True)
    found = smooth_chroma(repeated, 8, subsampling, 6)
    assert np.abs(repeated.astype(int) - wanted).max() > 8
    assert np.abs(found.astype(int) - wanted).max() <= 2


def test_interpolated_chroma_and_full_chroma_are_left_alone():
    rgb = colourful(36, 50)
    interpolated = subsampled(rgb, 420, interpolate=True)
    assert smooth_chroma(interpolated, 8, 420, 6) is interpolated
    shifted = subsampled(rgb, 420, interpolate=False)[1:, 1:]
    assert smooth_chroma(shifted, 8, 420, 6) is shifted
    assert smooth_chroma(rgb, 8, 444, 6) is rgb
    assert smooth_chroma(rgb, 8, None, 6) is rgb


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_alpha_is_kept_and_sixteen_bits_are_clipped_at_the_files_own_white(mode):
    repeated = subsampled(colourful(36, 50), 420, interpolate=False).astype(np.uint16) * 4
    repeated[:2] = 1023
    alpha = np.full((36, 50, len(mode) - 3), 7, np.uint16)
    found = smooth_chroma(np.concatenate([repeated, alpha], axis=2), 10, 420, 6)
    assert found.max() <= 1023
    assert np.array_equal(found[..., 3:], alpha)


@pytest.mark.parametrize("options", [{"chroma": 420}, {"chroma": 420, "matrix_coefficients": 1}])
def test_colour_edges_of_a_heic_file_are_smooth(options):
    rgb = colourful(64, 96)
    file = pillow_heif.from_bytes("RGB", (96, 64), rgb.tobytes())
    with BytesIO() as out:
        file.save(out, quality=-1, **options)
        photo = read(out.getvalue())
        raw = np.asarray(pillow_heif.open_heif(out)[0])
    error = np.abs(photo.rgb * 255 - rgb).mean()
    assert error < 0.6 * np.abs(raw.astype(int) - rgb).mean()
