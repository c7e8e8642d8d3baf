"""Plans of precision, tiles and memory for described machines."""

from dataclasses import replace
from itertools import pairwise
from time import process_time

import pytest

from addsr_cli.engine.geometry import boxes, cut
from addsr_cli.engine.plan import COLOR_MARGIN
from addsr_cli.engine.planner import (
    batch_capacity,
    check_memory,
    check_resize_memory,
    picture_memory,
    plan,
    predicted_seconds,
)
from addsr_cli.errors import OutOfMemory, UsageError
from addsr_cli.hardware import Hardware
from addsr_cli.models.architecture import ModelSpec
from addsr_cli.models.nano import architecture as nano
from addsr_cli.models.seesr.architecture import FOOTPRINT
from addsr_cli.settings import Machine

GB = 10**9
NANO = replace(nano.NANO, strip=0)  # strips take the place of tiles, see test_streaming
LAPTOP = Hardware(
    device="cpu",
    name="a laptop",
    free_bytes=8 * GB,
    total_bytes=16 * GB,
    bf16=False,
    fp16=False,
    threads=4,
)
SERVER = replace(LAPTOP, name="a server", bf16=True)
GPU = replace(LAPTOP, device="cuda:0", name="a card", free_bytes=8 * GB, bf16=True, fp16=True)
OLD_GPU = replace(GPU, bf16=False)
FULL = ModelSpec(
    name="full",
    arch="seesr",
    title="a network that sees everything",
    licence="none",
    footprint=FOOTPRINT,
    reads_text=True,
    tile=768,
    overlap=192,
)
FREE = [0, 10**6, 10**7, 3 * 10**7, 10**8, 3 * 10**8, GB, 8 * GB, 80 * GB]


def make_plan(hardware=LAPTOP, width=4000, height=3000, spec=NANO, **options):
    return plan((width, height), Machine(**options), hardware, spec)


def area(box):
    """Return the number of pixels in a box."""
    rows, columns = box
    return (rows.stop - rows.start) * (columns.stop - columns.start)


def chain(first):
    """Return a plan and its successors after repeated lack of memory."""
    plans = [first]
    while (following := plans[-1].smaller()) is not None:
        plans.append(following)
        assert len(plans) < 50
    return plans


@pytest.mark.parametrize(
    ("hardware", "dtype"), [(LAPTOP, "fp32"), (SERVER, "bf16"), (GPU, "fp16"), (OLD_GPU, "fp16")]
)
def test_precision_follows_the_fast_dtypes_of_the_machine(hardware, dtype):
    assert make_plan(hardware).dtype == dtype
    assert hardware.name in make_plan(hardware).why


def test_a_cpu_never_gets_fp16_by_itself():
    assert make_plan(replace(LAPTOP, fp16=True)).dtype == "fp32"


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("hardware", [LAPTOP, GPU])
def test_a_requested_precision_wins(hardware, precision):
    assert make_plan(hardware, precision=precision).dtype == precision
    assert "requested" in make_plan(hardware, precision=precision).why


@pytest.mark.parametrize("hardware", [LAPTOP, SERVER, GPU, OLD_GPU])
def test_tiles_shrink_with_free_memory_and_never_below_128(hardware):
    plans = [make_plan(replace(hardware, free_bytes=free)) for free in FREE]
    sides = [plan.tile for plan in plans]
    pixels = [plan.processed_pixels for plan in plans]
    assert all(more < 1.04 * less for less, more in pairwise(pixels))
    assert sides[0] == 128
    assert NANO.tile // 2 <= sides[-1] <= NANO.tile + 2 * COLOR_MARGIN
    assert all(side % 16 == 0 for side in sides)


@pytest.mark.parametrize(
    ("width", "height"), [(4000, 3000), (1500, 1100), (6000, 900), (1025, 1025)]
)
@pytest.mark.parametrize(("spec", "share"), [(NANO, 1.48), (FULL, 1.9)])
def test_tiles_are_cut_so_that_little_is_done_twice(width, height, spec, share):
    p = make_plan(width=width, height=height, spec=spec)
    assert p.processed_pixels < share * width * height


@pytest.mark.parametrize("free", FREE)
def test_the_overlap_always_leaves_a_step(free):
    p = make_plan(replace(LAPTOP, free_bytes=free))
    assert 0 <= p.overlap < p.tile
    assert p.overlap % 16 == 0


@pytest.mark.parametrize("free", [3 * GB, 8 * GB, 80 * GB])
def test_the_prediction_fits_into_free_memory(free):
    assert make_plan(replace(LAPTOP, free_bytes=free)).needed_bytes < free


def test_a_small_picture_is_done_in_one_piece():
    p = make_plan(width=400, height=300)
    assert (p.tile, p.tiles_per_step) == (None, 1)


def test_a_model_may_want_tiles_of_one_size_only():
    fixed = replace(FULL, tile=512, smallest_tile=512, overlap=128)
    assert {make_plan(SERVER, 520 + side, 700, fixed).tile for side in range(0, 400, 16)} == {512}
    assert make_plan(SERVER, 600, 700, fixed, tile=256).tile == 256
    assert make_plan(SERVER, 600, 700, fixed, max_memory=GB).tile < 512


def test_a_requested_tile_wins():
    assert make_plan(tile=256, overlap=32).tile == 256
    assert make_plan(tile=4096).tile is None


@pytest.mark.parametrize("width", [129, 768, 769, 1472, 1473, 5000])
def test_tiles_and_their_halos_are_counted_as_the_tiler_cuts_them(width):
    blended = [area(box) for box in boxes(900, width, 128, 32)]
    whole = (slice(0, 900), slice(0, width))
    exact = [area(around) for _, around in cut(whole, 128, 112, (900, width), 16)]
    for spec, areas in ((FULL, blended), (replace(NANO, halo=112), exact)):
        p = make_plan(width=width, height=900, spec=spec, tile=128, overlap=32)
        assert p.tiles_per_step == len(areas)
        assert p.processed_pixels == sum(areas)


def test_a_hopelessly_large_photo_is_planned_without_listing_its_tiles():
    hopeless = replace(LAPTOP, free_bytes=GB)
    start = process_time()
    assert make_plan(hopeless, 10**6, 10**6, nano.NANO).processed_pixels >= 10**12
    assert process_time() - start < 1


@pytest.mark.parametrize("steps", [1, 2])
def test_windows_of_regions_are_counted_as_the_engine_runs_them(steps):
    p = replace(
        make_plan(width=1000, height=700, spec=replace(NANO, halo=24), tile=128),
        region=300,
        steps=steps,
    )
    areas = []
    for core, seen in p.regions():
        size = tuple(side.stop - side.start for side in seen)
        for step in range(steps):
            tiles = cut(p.wanted(core, seen, step), p.tile, p.halo, size, 16)
            areas += [area(with_halo) for _, with_halo in tiles]
    assert p.tiles == len(areas)
    assert p.processed_pixels == sum(areas) // steps


@pytest.mark.parametrize("free", FREE)
@pytest.mark.parametrize("hardware", [LAPTOP, GPU])
def test_free_memory_alone_never_changes_tiles_that_show(hardware, free):
    roomy, tight = (
        make_plan(replace(hardware, free_bytes=bytes), spec=FULL) for bytes in (80 * GB, free)
    )
    assert (tight.tile, tight.overlap) == (roomy.tile, roomy.overlap)
    assert 0 < roomy.tile <= FULL.tile


def test_a_memory_limit_makes_tiles_smaller_with_a_reason():
    p = make_plan(GPU, 1000, 1000, spec=FULL, max_memory=5_300_000_000)
    assert 128 <= p.tile < 512
    assert "--max-memory" in p.why
    assert p.needed_bytes <= 5_300_000_000


def test_tiles_made_smaller_after_memory_ran_out_say_how_to_get_the_picture_again():
    p = make_plan(GPU, spec=FULL).smaller()
    assert f"--tile {p.tile} --overlap {p.overlap} gives it again" in p.why
    assert "again" not in make_plan(GPU).smaller().why


def test_a_gpu_may_try_a_plan_that_is_predicted_not_to_fit():
    tight = replace(GPU, free_bytes=5_400_000_000)
    draft = make_plan(tight, 1000, 1000, spec=FULL)
    assert draft.needed_bytes > draft.free_bytes
    check_memory(draft)
    with pytest.raises(OutOfMemory, match=r"needed, 0\.10 GB free"):
        check_memory(make_plan(replace(GPU, free_bytes=10**8), 1000, 1000, spec=FULL))


def test_a_cpu_never_tries_a_plan_that_is_predicted_not_to_fit():
    tight = make_plan(replace(LAPTOP, free_bytes=10 * GB), 1000, 1000, spec=FULL)
    with pytest.raises(OutOfMemory) as refusal:
        check_memory(tight)
    tile = int(refusal.value.hint.split("--tile ")[1].split()[0])
    check_memory(make_plan(replace(LAPTOP, free_bytes=10 * GB), 1000, 1000, spec=FULL, tile=tile))


@pytest.mark.parametrize("width", [1248, 1249])
def test_one_piece_may_be_as_large_as_a_tile_with_its_halo(width):
    assert (make_plan(width=width, height=900).tile is None) == (width <= NANO.tile + 2 * NANO.halo)


@pytest.mark.parametrize(("memory", "tile"), [(None, 512), (GB, 128)])
def test_tiles_that_overlap_by_half_do_so_at_every_size(memory, tile):
    spec = replace(FULL, tile=512, overlap=256)
    p = make_plan(SERVER, 1500, 1000, spec=spec, max_memory=memory)
    assert (p.tile, p.overlap) == (tile, tile // 2)


def test_an_overlap_does_not_matter_to_tiles_that_do_not_show():
    assert make_plan(overlap=32) == make_plan()


def test_a_memory_limit_is_obeyed():
    assert make_plan(max_memory=10**8).tile < make_plan().tile
    assert make_plan(max_memory=10**8).free_bytes == 10**8
    assert make_plan(max_memory=99 * GB).free_bytes == LAPTOP.free_bytes
    assert make_plan(max_memory=0).free_bytes == 0


@pytest.mark.parametrize("hardware", [LAPTOP, GPU])
@pytest.mark.parametrize("size", [(4000, 3000), (1000, 200), (130, 50), (100, 100), (20000, 20000)])
@pytest.mark.parametrize("tile", [None, 128, 512])
def test_smaller_plans_need_ever_less_until_there_is_none(hardware, size, tile):
    plans = chain(make_plan(hardware, *size, tile=tile))
    assert all(a.needed_bytes > b.needed_bytes for a, b in pairwise(plans))
    assert all(p.tile is None or 128 <= p.tile > p.overlap for p in plans)
    assert {p.halo for p in plans} == {NANO.halo}
    assert plans[-1].smaller() is None


def test_a_card_gives_up_its_pictures_last():
    plans = chain(make_plan(GPU))
    assert [p.offload for p in plans] == [False] * (len(plans) - 1) + [True]


def test_pictures_too_large_for_a_card_wait_in_main_memory():
    p = make_plan(replace(GPU, free_bytes=GB), 8000, 6000)
    assert p.offload
    assert "main memory" in p.why
    assert not make_plan(replace(GPU, free_bytes=GB), 8000, 6000, offload=False).offload


def test_a_cpu_has_nowhere_to_offload_to():
    assert not make_plan(offload=True).offload


@pytest.mark.parametrize(
    ("hardware", "options", "dtypes"),
    [
        (GPU, {}, ["fp16", "bf16", "fp32"]),
        (OLD_GPU, {}, ["fp16", "fp32"]),
        (SERVER, {}, ["bf16", "fp32"]),
        (LAPTOP, {}, ["fp32"]),
        (GPU, {"precision": "bf16"}, ["bf16", "fp32"]),
        (LAPTOP, {"precision": "fp16"}, ["fp16", "fp32"]),
    ],
)
def test_numbers_that_overflow_go_to_the_next_wider_type_that_is_fast(hardware, options, dtypes):
    plans = [make_plan(hardware, **options)]
    while (following := plans[-1].wider()) is not None:
        plans.append(following)
    assert [p.dtype for p in plans] == dtypes
    assert all(after.needed_bytes >= before.needed_bytes for before, after in pairwise(plans))


# Peak resident megabytes of ``addsr upscale`` of a JPEG, on Linux with torch 2.13.
MEASURED = [
    (nano.NANO, "bf16", 256, 256, 321),
    (nano.NANO, "bf16", 512, 512, 365),
    (nano.NANO, "bf16", 800, 600, 412),
    (nano.NANO, "fp32", 512, 512, 396),
    (nano.SMALL, "bf16", 256, 256, 364),
    (nano.SMALL, "bf16", 512, 512, 490),
    (nano.SMALL, "bf16", 800, 600, 622),
    (nano.NANO, "fp32", 800, 600, 477),
    (nano.SMALL, "fp32", 512, 512, 520),
    (nano.SMALL, "fp32", 800, 600, 656),
]


@pytest.mark.parametrize(("spec", "dtype", "width", "height", "megabytes"), MEASURED)
def test_the_predicted_peak_is_what_was_measured(spec, dtype, width, height, megabytes):
    pictures = picture_memory((width // 4, height // 4), (width, height), 3, 8)
    p = plan((width, height), Machine(precision=dtype), SERVER, spec, pictures=pictures)
    assert p.strip is None
    assert p.peak_bytes / 1e6 == pytest.approx(megabytes, rel=0.08)


@pytest.mark.parametrize(
    ("channels", "bit_depth", "of_input", "of_output"),
    [(3, 8, 3, 3), (1, 16, 2, 2), (4, 8, 4 + 3, 4), (4, 16, 8 + 6, 8), (2, 16, 4 + 2, 4)],
)
def test_colour_that_is_filled_under_transparency_counts_twice(
    channels,
    bit_depth,
    of_input,
    of_output,
):
    pictures = picture_memory((10, 20), (20, 40), channels, bit_depth)
    assert pictures.samples == of_input * 200 + of_output * 800


def test_libraries_count_in_main_memory_and_not_on_a_card():
    p = make_plan()
    assert p.peak_bytes == p.needed_bytes + NANO.footprint.runtime
    on_card = make_plan(GPU)
    assert on_card.peak_bytes == on_card.needed_bytes


def test_float32_weights_count_four_bytes_in_every_precision():
    half, full = (
        make_plan(GPU, spec=FULL, precision=name).footprint.weights(size)
        for name, size in (("fp16", 2), ("fp32", 4))
    )
    assert full == 4 * FOOTPRINT.parameters
    assert half == full / 2 + 2 * FOOTPRINT.always_fp32


@pytest.mark.parametrize("hardware", [LAPTOP, SERVER, GPU, OLD_GPU])
@pytest.mark.parametrize(
    "options", [{}, {"tile": 256}, {"precision": "fp32"}, {"max_memory": 10**7}]
)
def test_every_plan_gives_a_reason(hardware, options):
    plans = chain(make_plan(hardware, **options))
    assert all(p.why.strip() for p in plans)
    assert len({p.why for p in plans}) == len(plans)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tile": 64},
        {"tile": 200},
        {"tile": 0},
        {"overlap": -16},
        {"overlap": 10},
        {"precision": "fp8"},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(UsageError, match="--"):
        make_plan(**wrong)


@pytest.mark.parametrize("overlap", [256, 272])
def test_an_overlap_as_large_as_the_tile_is_refused(overlap):
    with pytest.raises(UsageError, match="overlap"):
        make_plan(tile=256, overlap=overlap)


@pytest.mark.parametrize("tile", [None, 256])
def test_larger_pictures_need_more_memory_and_time(tile):
    plans = [make_plan(width=side, height=side, tile=tile) for side in (300, 600, 1200, 2400, 9600)]
    assert all(a.needed_bytes < b.needed_bytes for a, b in pairwise(plans))
    seconds = [predicted_seconds(NANO, p, 4, 1e11) for p in plans]
    assert all(a < b for a, b in pairwise(seconds))


def test_time_grows_evenly_with_steps_and_falls_with_speed():
    p = make_plan()
    one, two, four = (predicted_seconds(NANO, p, steps, 1e11) for steps in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one))
    assert predicted_seconds(NANO, p, 4, 2e11) == pytest.approx(two)
    assert 0 < one - (two - one) < one / 2  # the work on pictures


def test_a_batch_fills_the_memory_and_no_more():
    draft = make_plan(GPU, 256, 256)
    weights = NANO.footprint.parameters * 2
    count = batch_capacity(draft)
    assert count > 100
    assert weights + count * (draft.needed_bytes - weights) <= 0.8 * draft.free_bytes


@pytest.mark.parametrize("options", [{"tile": 128, "overlap": 16}, {"offload": True}])
def test_tiled_and_offloaded_plans_form_no_batch(options):
    assert batch_capacity(make_plan(GPU, 256, 256, **options)) == 1


@pytest.mark.parametrize(("free", "most"), [(10**8, None), (8 * GB, 10**8)])
def test_a_picture_that_does_not_fit_is_not_reduced_either(free, most):
    check_resize_memory(1000, 1000, replace(LAPTOP, free_bytes=free), most)
    with pytest.raises(OutOfMemory, match=r"8000x6000 px: about 1\.54 GB needed, 0\.10 GB free"):
        check_resize_memory(8000, 6000, replace(LAPTOP, free_bytes=free), most)
