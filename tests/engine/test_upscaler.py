import os
import struct
import threading
import weakref
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from bundles import write_nano
from PIL import Image

from addsr_cli import Machine, Settings, Upscaler, imageio
from addsr_cli.errors import (
    AddsrError,
    ModelUnavailable,
    OutOfMemory,
    OutputRefused,
    UnreadableInput,
    UsageError,
)
from addsr_cli.imageio import Photo, from_array, read
from addsr_cli.imageio.png import SIGNATURE, chunk
from addsr_cli.models.architecture import Footprint
from addsr_cli.models.nano.architecture import NANO
from addsr_cli.weights import loader

ONE = Settings(steps=1)


def pixels(height=18, width=24, channels=3):
    """Smooth float32 waves (height, width, channels) in [0, 1]."""
    y, x = np.mgrid[:height, :width]
    waves = [0.5 + 0.4 * np.sin(x / (2 + k) + k) * np.cos(y / (3 + k)) for k in range(channels)]
    return np.stack(waves, axis=2).astype(np.float32)


def eight_bit(*shape):
    return (pixels(*shape) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def nano():
    return Upscaler("nano", Machine(device="cpu", precision="fp32"))


@pytest.fixture(scope="module")
def sampler():
    """Nano's network as a model of four steps."""
    spec = replace(NANO, default_steps=4, most_steps=None)
    return Upscaler(
        replace(loader.locate("nano"), spec=spec), Machine(device="cpu", precision="fp32")
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a small network of nano's kind, for laws that hold for any weights."""
    return write_nano(tmp_path_factory.mktemp("model") / "tiny")


def test_the_documented_sentence_works(tmp_path):
    Image.fromarray(eight_bit()).save("photo.jpg")
    Upscaler(model="nano").upscale("photo.jpg").save("out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (96, 72)


@pytest.mark.parametrize(
    "picture",
    [
        eight_bit(),
        (pixels() * 65535).astype(np.uint16),
        pixels(),
        pixels().astype(np.float64),
        Image.fromarray(eight_bit()),
        Photo(samples=pixels()),
    ],
    ids=["uint8", "uint16", "float32", "float64", "PIL", "Photo"],
)
def test_every_kind_of_picture_gives_the_same_result(nano, picture):
    expected = nano.upscale(pixels(), ONE).photo.rgb
    result = nano.upscale(picture, ONE).photo
    assert result.size == (96, 72)
    assert np.abs(result.rgb - expected).max() < 0.02


def test_a_path_may_be_text_or_path(nano, tmp_path):
    Image.fromarray(eight_bit()).save("photo.png")
    text, path = nano.upscale("photo.png", ONE), nano.upscale(tmp_path / "photo.png", ONE)
    assert (text.photo.rgb == path.photo.rgb).all()


def test_the_input_is_not_changed(nano):
    photo = from_array(pixels(channels=2))
    before = photo.samples.copy()
    nano.upscale(photo, replace(ONE, scale=1))
    assert (photo.samples == before).all()


def test_the_result_resembles_the_photo(nano):
    small = Image.fromarray(nano.upscale(eight_bit(60, 80), ONE).photo.to_array()).resize(
        (80, 60), Image.Resampling.BOX
    )
    assert np.abs(np.asarray(small, np.float32) - eight_bit(60, 80)).mean() < 10


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 60), (90, 160, 40)])
def test_a_picture_of_one_colour_stays_that_colour(nano, colour, steps):
    photo = nano.upscale(Image.new("RGB", (24, 20), colour), Settings(steps=steps)).photo
    assert np.abs(255 * photo.rgb - np.array(colour)).max() < 0.01


def test_grey_stays_grey(nano):
    result = nano.upscale(eight_bit(18, 24, 1), ONE).photo
    assert result.gray
    assert result.to_array().shape == (72, 96)


def test_alpha_stays_and_is_in_the_plan(nano):
    result = nano.upscale(eight_bit(18, 24, 4), ONE)
    assert result.photo.to_array().shape == (72, 96, 4)
    [plan] = nano.plan(24, 18, ONE, channels=4)
    assert result.plan.pictures == plan.pictures


def test_alpha_that_hides_nothing_changes_no_colour(nano):
    picture = eight_bit(18, 24, 4)
    picture[:, :, 3] = 255
    result = nano.upscale(picture, ONE).photo
    np.testing.assert_array_equal(result.colour, nano.upscale(picture[:, :, :3], ONE).photo.colour)


def test_two_passes_take_a_picture_with_alpha(nano):
    picture = eight_bit(6, 8, 4)
    picture[:, :, 3] = 255
    result = nano.upscale(picture, Settings(scale=5.0, steps=1))
    assert result.photo.samples.shape == (30, 40, 4)
    assert result.photo.alpha.min() == 1


def test_colour_under_transparency_does_not_bleed_into_the_picture(nano):
    picture = np.zeros((24, 24, 4), np.uint8)
    picture[:, :12] = (200, 100, 50, 255)
    picture[:, 12:] = (0, 255, 0, 0)
    result = nano.upscale(picture, ONE).photo
    visible = result.rgb[result.alpha > 0.5]
    assert np.abs(visible - np.array([200, 100, 50]) / 255).max() < 0.1


def test_sixteen_bits_stay_sixteen(nano, tmp_path):
    result = nano.upscale((pixels() * 65535).astype(np.uint16), ONE)
    result.save("out.png")
    assert result.photo.bit_depth == 16
    again = read(tmp_path / "out.png")
    assert again.bit_depth == 16
    assert len(np.unique(again.to_array())) > 256


def test_profile_and_metadata_travel_along(nano):
    photo = Photo(
        samples=pixels(),
        icc=b"profile",
        exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0",
        xmp=b"<x/>",
        format="TIFF",
    )
    result = nano.upscale(photo, ONE).photo
    assert (result.icc, result.exif, result.xmp, result.format) == (
        photo.icc,
        photo.exif,
        photo.xmp,
        "TIFF",
    )


def test_the_same_seed_gives_identical_bytes(tmp_path):
    settings, picture = Settings(seed=7), eight_bit()
    for name in ("one.png", "two.png"):
        Upscaler("nano").upscale(picture, settings).save(name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_the_same_seed_gives_the_same_picture_twice_from_one_upscaler(nano):
    first, second = (nano.upscale(eight_bit(), Settings(seed=7)).photo.rgb for _ in range(2))
    assert (first == second).all()


def test_another_seed_gives_another_picture_at_four_steps(sampler):
    first, second = (
        sampler.upscale(eight_bit(), Settings(seed=seed, steps=4)).photo.rgb for seed in (0, 1)
    )
    assert not (first == second).all()


def test_starting_from_noise_gives_another_picture(nano):
    first, second = (
        nano.upscale(eight_bit(), Settings(start=start)).photo.rgb for start in ("lr", "noise")
    )
    assert not (first == second).all()


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1, 7), (5, 3), (33, 17)])
@pytest.mark.parametrize("scale", [4, 1.5])
def test_small_and_odd_sizes_work(nano, shape, scale):
    settings = replace(ONE, scale=scale)
    result = nano.upscale(eight_bit(*shape), settings).photo
    assert result.size == settings.output_size(shape[1], shape[0])
    assert np.isfinite(result.rgb).all()


@pytest.mark.parametrize("color", ["wavelet", "adain", "lab", "none"])
@pytest.mark.parametrize("shape", [(18, 24), (1, 1)])
def test_every_colour_method_gives_a_picture_in_range(nano, color, shape):
    rgb = nano.upscale(eight_bit(*shape), replace(ONE, color=color)).photo.rgb
    assert np.isfinite(rgb).all()
    assert 0 <= rgb.min() <= rgb.max() <= 1


def test_a_plain_picture_stays_plain(nano):
    result = nano.upscale(np.full((16, 16, 3), 128, np.uint8), ONE).photo.rgb
    assert np.abs(result - 128 / 255).max() < 0.05


def test_more_than_four_times_takes_two_passes(nano):
    settings = replace(ONE, scale=7)
    assert len(nano.plan(24, 18, settings)) == 2
    assert nano.upscale(eight_bit(), settings).photo.size == (168, 126)


@pytest.mark.parametrize(
    "settings", [Settings(scale=0.5), Settings(longest=12), Settings(height=9)]
)
def test_a_target_below_the_photos_size_is_resized_without_the_network(nano, denoise, settings):
    denoise(lambda *words: pytest.fail("the network ran"))
    result = nano.upscale(pixels(), settings)
    plain = np.asarray(Image.fromarray(eight_bit()).resize((12, 9), Image.Resampling.BICUBIC)) / 255
    assert nano.plan(24, 18, settings) == []
    assert np.abs(result.photo.rgb - plain).max() < 0.02
    assert (result.plan, result.model, result.steps) == (None, "", 0)
    assert result.warnings == (
        "12x9 is smaller than the photo, so it was only resized, without the model",
    )
    assert result.provenance() == {}  # nothing says that it was AI-upscaled
    assert repr(result).startswith("<Result 12x9, resized, ")


def test_the_photos_own_size_still_runs_the_network(nano):
    assert nano.upscale(eight_bit(), replace(ONE, scale=1)).steps == 1


def test_a_result_is_an_image_and_has_a_short_repr(nano):
    result = nano.upscale(Image.fromarray(eight_bit()[:, :, 0]), ONE)
    assert (result.image.mode, result.image.size) == ("L", (96, 72))
    assert (np.asarray(result.image) == result.photo.to_array(8)).all()
    assert repr(result).startswith("<Result 96x72, nano, steps=1, seed=0, ")
    assert len(repr(result)) < 80


def test_full_fidelity_is_closer_to_the_plain_enlargement(nano):
    plain = (
        np.asarray(Image.fromarray(eight_bit(40, 40)).resize((160, 160), Image.Resampling.BICUBIC))
        / 255
    )
    near, far = (
        nano.upscale(eight_bit(40, 40), Settings(fidelity=dial)).photo.rgb for dial in (1.0, 0.0)
    )
    assert np.abs(near - plain).mean() < np.abs(far - plain).mean()


def test_fidelity_sets_the_steps_that_are_run(sampler):
    assert [
        sampler.upscale(eight_bit(), Settings(fidelity=dial)).steps for dial in (0.0, 0.5, 1.0)
    ] == [4, 4, 1]


def machine_with(monkeypatch, free, **more):
    """Make ``probe`` return ``free[0]`` bytes of free memory; ``free`` may change in place."""
    from addsr_cli.engine import upscaler as upscaler_module
    from addsr_cli.hardware import Hardware

    machine = Hardware(
        device="cpu", name="it", free_bytes=0, total_bytes=10**12, bf16=False, fp16=False, threads=1
    )
    monkeypatch.setattr(
        upscaler_module.hardware, "probe", lambda _: replace(machine, free_bytes=free[0], **more)
    )


def test_free_memory_changes_the_plan_and_not_the_picture(nano, monkeypatch):
    free, picture, settings = [10**9], eight_bit(65, 90), ONE
    machine_with(monkeypatch, free)
    roomy = nano.upscale(picture, settings)
    free[0] = 40_000_000
    tight = nano.upscale(picture, settings)
    assert (roomy.plan.strip, tight.plan.strip) == (None, NANO.strip)
    assert np.abs(255 * roomy.photo.rgb - 255 * tight.photo.rgb).max() <= 1


def test_weights_that_are_loaded_are_not_counted_twice(monkeypatch):
    weights = 4 * 10**8
    footprint = Footprint(parameters=weights // 4, network=160, pictures=120, flop=1)
    located = replace(loader.locate("nano"), spec=replace(NANO, footprint=footprint))
    upscaler, free = Upscaler(located, Machine(device="cpu", precision="fp32")), [6 * 10**8]
    machine_with(monkeypatch, free)
    first = upscaler.upscale(eight_bit(), ONE)
    free[0] -= weights  # as the system tells once they are there
    second = upscaler.upscale(eight_bit(), ONE)
    assert second.plan == first.plan
    with pytest.raises(OutOfMemory):  # another has to load them first
        Upscaler(located, Machine(device="cpu", precision="fp32")).plan(24, 18)


def test_the_first_copy_is_gone_before_a_wider_one_is_loaded(denoise, monkeypatch):
    denoise(
        lambda model, z, answer: (
            answer() * (1 if next(model.net.parameters()).dtype == torch.float32 else np.nan)
        )
    )
    alive, load = [], loader.load

    def watched(*args, **kwargs):
        assert not [reference for reference in alive if reference() is not None]
        restorer = load(*args, **kwargs)
        alive.append(weakref.ref(restorer.net))
        return restorer

    monkeypatch.setattr(loader, "load", watched)
    result = Upscaler("nano", Machine(device="cpu", precision="bf16")).upscale(eight_bit(), ONE)
    assert len(alive) == 2
    assert result.plan.dtype == "fp32"


def test_the_file_says_the_tile_where_its_size_shows(nano):
    result = nano.upscale(eight_bit(), ONE)
    assert "tile" not in result.provenance()["Comment"]
    shown = replace(result, plan=replace(result.plan, halo=None, tile=512, overlap=128))
    assert "tile=512, overlap=128" in shown.provenance()["Comment"]
    whole = replace(result, plan=replace(result.plan, halo=None))
    assert "tile=none, overlap=0" in whole.provenance()["Comment"]


def test_progress_counts_to_its_end(sampler):
    seen = []
    sampler.upscale(eight_bit(), Settings(steps=3), seen.append)
    assert [(p.done, p.total, p.step, p.steps) for p in seen] == [
        (1, 3, 1, 3),
        (2, 3, 2, 3),
        (3, 3, 3, 3),
    ]


def test_progress_counts_tiles_of_all_passes(tiny):
    machine = Machine(device="cpu", precision="fp32", tile=128, overlap=16)
    seen, tiled = [], Upscaler(tiny, machine)
    plans = tiled.plan(40, 20, Settings(scale=8))
    tiled.upscale(eight_bit(20, 40), Settings(scale=8, steps=2), seen.append)
    total = 2 * sum(plan.tiles_per_step for plan in plans)
    assert [p.done for p in seen] == list(range(1, total + 1))
    assert {p.total for p in seen} == {total}


def test_the_result_records_its_settings(sampler):
    result = sampler.upscale(eight_bit(), Settings(steps=2, seed=5))
    assert (result.model, result.steps, result.settings.seed, result.plan.dtype) == (
        "nano",
        2,
        5,
        "fp32",
    )
    assert len(result.model_sha256) == 64
    assert result.seconds.keys() >= {"read", "load", "network", "color", "finish"}
    assert result.peak_memory > 0
    assert result.warnings == ()


def test_a_prompt_is_answered_with_a_warning(nano):
    assert "reads no text" in nano.upscale(eight_bit(), replace(ONE, prompt="a cat")).warnings[0]
    assert nano.upscale(eight_bit(), replace(ONE, tags="none")).warnings == ()


def test_save_never_overwrites_by_default(nano, tmp_path):
    (tmp_path / "out.png").write_bytes(b"precious")
    with pytest.raises(OutputRefused):
        nano.upscale(eight_bit(), ONE).save("out.png")
    assert (tmp_path / "out.png").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], ids=["torch", "python"]
)
def test_memory_that_runs_out_means_smaller_tiles_and_a_warning(tiny, denoise, error):
    def tight(model, z, answer):
        if z.shape[-1] * model.factor > 240:
            raise error
        return answer()

    upscaler = Upscaler(tiny, Machine(device="cpu", precision="fp32"))
    expected = upscaler.upscale(eight_bit(48, 64), ONE)
    denoise(tight)
    result = upscaler.upscale(eight_bit(48, 64), ONE)
    assert (expected.plan.tile, result.plan.tile) == (None, 128)
    assert any("tiles of 128 px after memory ran out" in note for note in result.warnings)
    assert np.abs(result.photo.rgb - expected.photo.rgb).max() < 1 / 255


def test_tiles_that_show_shrink_only_when_memory_runs_out_and_the_warning_repeats_them(
    tiny, denoise, monkeypatch
):
    def tight(model, z, answer):
        if z.shape[-1] * model.factor > 240:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return answer()

    located = loader.locate(tiny)
    shown = replace(located, spec=replace(located.spec, halo=None, tile=768, overlap=64))
    machine_with(monkeypatch, [40_000_000])  # by which an exact model would choose tiles
    upscaler = Upscaler(shown, Machine(device="cpu", precision="fp32"))
    assert upscaler.plan(64, 48)[0].tile is None
    denoise(tight)
    result = upscaler.upscale(eight_bit(48, 64), ONE)
    assert result.plan.tile == 128
    assert any("--tile 128 --overlap 32 gives it again" in note for note in result.warnings)
    assert "tile=128, overlap=32" in result.provenance()["Comment"]


def test_memory_that_never_suffices_is_an_error_with_numbers(nano, denoise):
    def full(model, z, answer):
        raise torch.OutOfMemoryError("CUDA out of memory")

    denoise(full)
    with pytest.raises(
        OutOfMemory, match=r"256x192 px: about \d+\.\d+ GB needed, \d+\.\d+ GB free"
    ):
        nano.upscale(eight_bit(48, 64), ONE)


def test_a_photo_that_cannot_fit_is_refused_before_any_work():
    upscaler = Upscaler("nano", Machine(max_memory=10**7))
    with pytest.raises(OutOfMemory, match=r"0\.01 GB free"):
        upscaler.plan(1000, 750)


def test_other_failures_of_the_network_are_not_taken_for_lack_of_memory(nano, denoise):
    def broken(model, z, answer):
        raise RuntimeError("shapes do not match")

    denoise(broken)
    with pytest.raises(RuntimeError, match="shapes"):
        nano.upscale(eight_bit(), ONE)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_narrow_type_that_overflows_is_run_again_in_float32(nano, denoise, precision):
    def overflowing(model, z, answer):
        narrow = next(model.net.parameters()).dtype != torch.float32
        return answer() * (float("inf") if narrow else 1)

    expected = nano.upscale(eight_bit(), ONE)
    denoise(overflowing)
    result = Upscaler("nano", Machine(device="cpu", precision=precision)).upscale(eight_bit(), ONE)
    assert result.plan.dtype == "fp32"
    assert any("float32" in note for note in result.warnings)
    assert (result.photo.rgb == expected.photo.rgb).all()


def test_a_network_that_overflows_in_fp16_runs_in_bf16_where_that_is_fast(denoise, monkeypatch):
    tried = []

    def overflowing(model, z, answer):
        tried.append(next(model.net.parameters()).dtype)
        return answer() * (float("inf") if tried[-1] == torch.float16 else 1)

    denoise(overflowing)
    machine_with(monkeypatch, [10**9], bf16=True)
    result = Upscaler("nano", Machine(device="cpu", precision="fp16")).upscale(eight_bit(), ONE)
    assert tried == [torch.float16, torch.bfloat16]
    assert (result.plan.dtype, result.plan.wider_types) == ("bf16", ("fp32",))


def test_a_flat_result_in_a_narrow_type_is_run_again_in_float32(denoise):
    def black(model, z, answer):
        return answer() * (next(model.net.parameters()).dtype == torch.float32)

    denoise(black)
    result = Upscaler("nano", Machine(device="cpu", precision="bf16")).upscale(eight_bit(), ONE)
    assert result.plan.dtype == "fp32"
    assert result.photo.rgb.std() > 0.05


def test_numbers_that_are_never_usable_are_an_error(nano, denoise):
    denoise(lambda model, z, answer: answer() * float("nan"))
    with pytest.raises(AddsrError, match="not finite after step 1"):
        nano.upscale(eight_bit(), ONE)


def test_a_flat_result_from_a_picture_with_detail_is_an_error(nano, denoise):
    denoise(lambda model, z, answer: torch.zeros_like(z))
    with pytest.raises(AddsrError, match="flat"):
        nano.upscale(eight_bit(), ONE)


def test_a_smooth_16_bit_ramp_stays_smooth_in_bf16(nano):
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16)[None, :, None], (8, 1, 3))
    plain = replace(ONE, color="none")  # matching colours would hide steps
    narrow = Upscaler("nano", Machine(device="cpu", precision="bf16"))
    few, many = (
        len(np.unique(it.upscale(ramp, plain).photo.to_array()[16])) for it in (narrow, nano)
    )
    assert few > 0.9 * many


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        ("missing.jpg", UnreadableInput),
        (np.zeros((4, 4, 7), np.uint8), UsageError),
        (np.full((4, 4, 3), np.nan, np.float32), UsageError),
        (np.zeros((0, 4, 3), np.uint8), UsageError),
    ],
    ids=["missing", "seven channels", "NaN", "empty"],
)
def test_invalid_pictures_are_refused(nano, picture, error):
    with pytest.raises(error):
        nano.upscale(picture, ONE)


def test_an_unknown_model_is_refused_at_once():
    with pytest.raises(ModelUnavailable):
        Upscaler("bogus")


def run_batch(nano, sizes=((18, 24),) * 3, **more):
    photos = [from_array(np.roll(pixels(*size), k, axis=1)) for k, size in enumerate(sizes)]
    settings = [replace(Settings(**more), seed=seed) for seed in range(len(photos))]
    return photos, settings, nano.upscale_batch(photos, settings)


@pytest.mark.parametrize(
    "more", [{}, {"scale": 2.5, "color": "lab", "fidelity": 0.9}, {"start": "noise"}]
)
def test_a_batch_equals_its_photos_upscaled_alone(nano, more):
    photos, settings, results = run_batch(nano, **more)
    for photo, chosen, result in zip(photos, settings, results, strict=True):
        alone = nano.upscale(photo, chosen)
        assert np.abs(result.photo.rgb - alone.photo.rgb).max() < 1e-4
        assert (result.settings, result.steps, result.model_sha256) == (
            chosen,
            alone.steps,
            alone.model_sha256,
        )
    assert not (results[0].photo.rgb == results[1].photo.rgb).all()


def test_alpha_and_grey_stay_with_their_photos_in_a_batch(nano):
    alpha = pixels(channels=1)
    grey = replace(from_array(pixels(channels=1)), warnings=("odd",))
    photos = [from_array(np.dstack([pixels(), alpha])), grey]
    glass, grey = nano.upscale_batch(photos, [ONE, ONE])
    assert glass.photo.has_alpha
    assert grey.photo.gray
    assert (glass.warnings, grey.warnings) == ((), ("odd",))


@pytest.mark.parametrize(
    ("sizes", "more"),
    [(((18, 24), (24, 18)), {}), (((18, 24),) * 2, {"scale": 9})],
    ids=["sizes", "passes"],
)
def test_photos_that_cannot_be_a_batch_give_none(nano, sizes, more):
    assert run_batch(nano, sizes, **more)[2] is None


def test_settings_that_differ_make_no_batch(nano):
    assert nano.upscale_batch([Photo(samples=pixels())] * 2, [ONE, replace(ONE, psr=0.1)]) is None


def test_tiled_photos_make_no_batch():
    tiled = Upscaler("nano", Machine(device="cpu", tile=128, overlap=16))
    assert run_batch(tiled, ((40, 40),) * 2)[2] is None
    assert tiled.batch_size(40, 40, ONE, 8) == 1


@pytest.mark.parametrize("trouble", [MemoryError(), RuntimeError("CUDA out of memory"), "nan"])
def test_a_batch_that_fails_is_left_to_single_runs(nano, denoise, trouble):
    def failing(inner, z, answer):
        if isinstance(trouble, Exception):
            raise trouble
        return answer() * float("nan")

    denoise(failing)
    assert run_batch(nano)[2] is None


def test_one_flat_picture_in_a_batch_is_noticed(nano, denoise):
    def flat(inner, z, answer):
        output = answer()
        output[1] = 0
        return output

    denoise(flat)
    assert run_batch(nano, color="none")[2] is None


def test_an_error_that_is_no_lack_of_memory_is_not_hidden_by_a_batch(nano, denoise):
    def failing(inner, z, answer):
        raise RuntimeError("shapes differ")

    denoise(failing)
    with pytest.raises(RuntimeError, match="shapes"):
        run_batch(nano)


def test_a_cpu_takes_photos_one_by_one_by_default(nano):
    assert nano.batch_size(24, 18, ONE) == 1
    assert nano.batch_size(24, 18, ONE, 5) == 5


@pytest.fixture
def huge(tmp_path):
    """A file of a hundred bytes that claims 299 megapixels."""
    header = struct.pack(">IIBBBBB", 17300, 17300, 1, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(SIGNATURE + b"".join(chunk(*each) for each in chunks))
    return tmp_path / "huge.png"


def test_a_photo_too_large_for_memory_is_refused_before_it_is_decoded(huge, monkeypatch):
    monkeypatch.setattr(imageio, "read", None)
    with pytest.raises(OutOfMemory):
        Upscaler("nano", Machine(max_memory=10**9)).upscale(huge)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_read_once(nano, tmp_path):
    Image.new("RGB", (8, 6), "teal").save(tmp_path / "photo.png")
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(
        target=(tmp_path / "pipe").write_bytes, args=((tmp_path / "photo.png").read_bytes(),)
    )
    thread.start()
    assert nano.upscale(tmp_path / "pipe").photo.size == (32, 24)
    thread.join()


def test_a_model_of_one_step_runs_one_and_says_so(nano):
    assert nano.steps(Settings(steps=4)) == 1
    result = nano.upscale(eight_bit(), Settings(steps=4))
    assert result.steps == 1
    assert any("trained for 1 step" in warning for warning in result.warnings)
    assert nano.upscale(eight_bit(), ONE).warnings == ()


def test_the_decision_of_auto_tells_the_steps_that_are_run(nano):
    result = nano.upscale(eight_bit(), Settings(steps=4, fidelity="auto"))
    assert (result.steps, result.decision.steps) == (1, 1)
