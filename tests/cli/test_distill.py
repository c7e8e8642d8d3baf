"""``addsr distill``: its files, messages and failures."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from addsr_cli.train.config import TrainConfig
from addsr_cli.train.losses.timestep_weights import TaWeights
from addsr_cli.train.plan_options import GpuName
from addsr_cli.train.recipe import PRESETS
from addsr_cli.train.scaling import GPUS

pytestmark = pytest.mark.usefixtures("one_small_process")
SMALL = ("--arch", "tiny-nano", "--device", "cpu", "--workers", 0, "--steps", 2)
ONE_PHOTO = ("--batch-size", 1, "--accumulate", 1)  # a step, unless a test is about the batches


@pytest.fixture
def photos(photo):
    """A folder with three photos."""
    for name in ("a.png", "b.jpg", "below/c.png"):
        photo(f"photos/{name}", (80, 72))
    return Path("photos")


@pytest.fixture
def distill(addsr, photos):
    """The smallest run, with more options."""
    return lambda *arguments: addsr("distill", "--data", photos, *SMALL, *ONE_PHOTO, *arguments)


def refused(outcome, code, *phrases):
    """Whether a call failed with one line on stderr that contains these phrases, and no output."""
    errors = [line for line in outcome.lines if line.startswith("error: ")]
    assert (outcome.code, outcome.out, len(errors)) == (code, "", 1), outcome.err
    assert "Traceback" not in outcome.err
    assert "error: unexpected" not in outcome.err
    for phrase in phrases:
        assert phrase in outcome.err
    return True


def config(run):
    return TrainConfig.from_json((Path(run) / "config.json").read_text())


def test_two_steps_leave_a_checkpoint_a_report_and_a_model(distill, addsr, photo):
    done = distill()
    run = Path("runs/tiny-nano-student")
    assert (done.code, done.out) == (0, f"{run / 'export'}\n")
    assert done.lines[0] == "3 photos in photos"
    assert "step 2/2" in done.lines[-1]
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-0000002.pt"]
    assert {"README.md", "curves.svg", "grid.png"} <= {
        path.name for path in (run / "export").iterdir()
    }
    assert (
        addsr("upscale", photo("p.png"), "-o", "out.png", "--model", run, "--device", "cpu").code
        == 0
    )
    with Image.open("out.png") as image:
        assert image.size == (96, 72)


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_json_is_one_object(distill, stage):
    done = distill("--json", "--quiet", "--stage", stage, "-o", "run")
    assert json.loads(done.out) == {"status": "ok", "output": "run/export", "steps": 2}
    assert done.err == ""


def test_resuming_goes_on_and_starting_over_is_refused(distill):
    assert distill("-o", "run").code == 0
    AcceleratorState._reset_state(True)
    assert refused(distill("-o", "run"), 2, "already", "--resume latest")
    AcceleratorState._reset_state(True)
    more = distill("-o", "run", "--resume", "latest", "--steps", 3)
    assert (more.code, "step 3/3" in more.err) == (0, True)
    AcceleratorState._reset_state(True)
    assert refused(distill("-o", "other", "--resume", "latest"), 2, "no checkpoint")


@pytest.mark.parametrize(
    ("preset", "factors"),
    [("paper", (0.5, 1.05, 2.205, 4.6305)), ("official", (4.6305, 0.5, 1.05, 2.205))],
)
def test_presets_are_recorded(addsr, photos, preset, factors):
    arguments = ("--data", photos, *SMALL, "--steps", 1, "--preset", preset, "-o", "run")
    assert addsr("distill", *arguments).code == 0
    run = config("run")
    assert run.recipe.ta.table() == pytest.approx(factors)
    assert run.recipe == replace(PRESETS[preset], discriminator="conv")
    expected = {"paper": (2, 3, 0.0), "official": (2, 1, 0.01)}[preset]
    assert (run.batch_size, run.accumulate, run.weight_decay) == expected


def test_every_choice_reaches_the_run(distill, small_vgg):
    arguments = (
        "--ta",
        "linear",
        "--adversarial",
        0.1,
        "--distill-weight",
        2,
        "--teacher-samples",
        2,
        "--r1",
        1e-3,
    )
    arguments += (
        "--teacher-sees",
        "control,text",
        "--student-text",
        "lr",
        "--text-dropout",
        0.25,
        "--gamma",
        0.3,
        "--kappa",
        0.6,
        "--ta-index",
        "target",
        "--timesteps",
        "uniform",
        "--teacher-steps",
        "student",
        "--teacher-noise",
        "own",
        "--dinov2-colors",
        "normal",
        "--psr-pixels",
        "signed",
        "--weight-decay",
        0.1,
        "--augmentation",
        "varied",
        "--clip",
        2,
        "--distill-space",
        "latent",
        "--rollout",
        "teacher-forced",
        "--usm",
    )
    arguments += (
        "--first-latent",
        "hr",
        "--psr-train-weight",
        "uniform:0.4,0.8",
        "--anchor-l1",
        0.1,
    )
    arguments += (
        "--anchor-lpips",
        0.2,
        "--discriminator",
        "vgg",
        "--teacher-share",
        0.5,
        "--timestep-weights",
        "0,1,2,3",
    )
    arguments += ("--degradation", "mild", "--scales", "2:3", "--lettering", 0.4)
    arguments += ("--lr", 1e-3, "--d-lr", 2e-3, "--decay", "constant")
    arguments += (
        "--ema",
        0.5,
        "--accumulate",
        2,
        "--batch-size",
        1,
        "--validation",
        1,
        "--tags",
        "none",
        "--seed",
        7,
    )
    assert distill(*arguments, "--preset", "official", "-o", "run").code == 0
    run = config("run")
    recipe = run.recipe
    assert recipe.ta == TaWeights(form="linear", gamma=0.3, kappa=0.6)
    assert (recipe.adversarial, recipe.distill) == (0.1, 2)
    assert (recipe.timesteps, recipe.teacher_timesteps) == ("uniform", "student")
    assert (recipe.teacher_noise, recipe.dinov2_colors) == ("own", "normal")
    assert (recipe.student_text, recipe.text_dropout, recipe.psr_pixels) == ("lr", 0.25, "signed")
    assert (run.weight_decay, run.augmentation, run.clip) == (0.1, "varied", 2)
    assert (recipe.teacher_samples, recipe.r1, recipe.teacher_sees, recipe.space) == (
        2,
        1e-3,
        ("control", "text"),
        "latent",
    )
    assert (recipe.rollout, recipe.first_latent, recipe.psr) == ("teacher-forced", "hr", (0.4, 0.8))
    assert recipe.reconstruction == {"l1": 0.1, "lpips": 0.2}
    assert (recipe.discriminator, recipe.teacher_share) == ("vgg", 0.5)
    assert recipe.timestep_weights == (0, 1, 2, 3)
    assert (run.mix, run.usm, run.lr, run.d_lr, run.decay) == (
        (("mild", 1.0),),
        True,
        1e-3,
        2e-3,
        "constant",
    )
    assert (run.scales, run.lettering) == ((2, 3), 0.4)
    assert (run.ema, run.accumulate, run.batch_size, run.validation, run.seed) == (0.5, 2, 1, 1, 7)


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_losses_on_vgg_are_printed_and_logged(distill, small_vgg, stage):
    arguments = ("--anchor-lpips", 0.5, "--stage", stage, "--log-every", 1, "-o", "run")
    done = distill(*arguments, *(("--discriminator", "vgg") if stage == "student" else ()))
    assert done.code == 0, done.err
    rows = [json.loads(line)["values"] for line in Path("run/log.jsonl").read_text().splitlines()]
    expected = {"lpips", "grad_norm"} | (
        {"real", "fake", "distill"} if stage == "student" else {"l1"}
    )
    assert len(rows) == 2
    assert all(expected <= row.keys() and row["lpips"] > 0 for row in rows)
    assert "lpips" in done.lines[-1]


@pytest.mark.parametrize("arguments", [("--discriminator", "vgg"), ("--anchor-lpips", 0.5)])
def test_without_the_weights_of_vgg_the_command_that_fetches_them_is_named(distill, arguments):
    assert refused(
        distill(*arguments), 4, "weights of LPIPS", "python -m addsr_cli.fetch_perceptual"
    )
    assert not Path("runs").exists()


def test_a_file_of_real_esrgan_is_a_teacher(distill):
    from addsr_cli.models.single_pass.esrgan import Esrgan
    from addsr_cli.models.single_pass.teacher import save_esrgan

    save_esrgan(Esrgan(groups=1, width=8, growth=4), Path("x4plus.safetensors"), {})
    assert distill("--teacher", "x4plus.safetensors", "-o", "run").code == 0
    assert config("run").teacher == "x4plus.safetensors"
    with Path("x4plus.safetensors").open("r+b") as file:
        file.truncate(2000)
    AcceleratorState._reset_state(True)
    assert refused(
        distill("--teacher", "x4plus.safetensors", "-o", "other"), 4, "x4plus.safetensors"
    )


@pytest.mark.parametrize("recipe", ["chroma", "blocks", "print"])
def test_every_recipe_may_be_the_only_one(distill, recipe):
    assert distill("--degradation", recipe, "--steps", 1, "-o", "run").code == 0
    assert config("run").mix == ((recipe, 1.0),)


def test_pairs_are_two_folders(addsr, photos):
    for path in photos.rglob("*.*"):
        for part, scale in (("hr", 1), ("lr", 4)):
            target = Path("pairs") / part / path.relative_to(photos)
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                image.resize((80 // scale, 72 // scale)).save(target)
    done = addsr("distill", "--pairs", "pairs", *SMALL, *ONE_PHOTO, "-o", "run")
    assert (done.code, done.lines[0]) == (0, "3 photos in pairs/hr")
    assert config("run").pairs == Path("pairs/lr")


def test_pairs_without_both_folders_are_refused(addsr, photos):
    assert refused(addsr("distill", "--pairs", photos, *SMALL), 2, "hr/ and lr/")


def test_exactly_one_of_data_and_pairs_is_required(addsr, photos):
    for arguments in ((), ("--data", photos, "--pairs", photos)):
        assert refused(addsr("distill", *arguments, *SMALL), 2, "--data or --pairs")


def empty(folder):
    folder.mkdir()


def small(folder):
    folder.mkdir()
    Image.new("RGB", (32, 200)).save(folder / "small.png")


def broken(folder):
    folder.mkdir()
    (folder / "broken.jpg").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("make", "message"),
    [(empty, "0 photos"), (small, "1 smaller than 64 px"), (broken, "1 unreadable")],
)
def test_a_folder_without_a_usable_photo_is_refused_with_reasons(addsr, make, message):
    make(Path("others"))
    assert refused(addsr("distill", "--data", "others", *SMALL), 6, "No photo to train on", message)
    assert not Path("runs").exists()


def test_a_folder_that_is_not_there_is_refused(addsr):
    assert refused(addsr("distill", "--data", "nowhere", *SMALL), 2, "not a folder")


def test_several_folders_are_mixed_and_counted(addsr, photos, photo):
    for name in ("x.png", "y.png"):
        photo(f"more/{name}", (80, 72))
    done = addsr("distill", "--data", "photos", "--data", "more:1", *SMALL, *ONE_PHOTO, "-o", "run")
    assert (done.code, done.lines[0]) == (0, "4 photos: 3 in photos, 1 in more")
    assert config("run").data == (Path("photos"), Path("more:1"))


@pytest.mark.parametrize("value", ['"photos"', '["photos"]'])
def test_a_configuration_file_may_name_one_folder_or_several(addsr, photos, value):
    Path("addsr.toml").write_text(f"[distill]\ndata = {value}\n")
    done = addsr("distill", *SMALL, "--dry-run")
    assert done.code == 0, done.err
    assert "3 photos in photos" in done.err


def test_skipped_photos_are_counted(distill, photos):
    broken(photos / "more")
    assert distill().lines[0] == "3 photos, 1 unreadable in photos"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--psr-train-weight", "much"),
        ("--mix", "clean"),
        ("--crop", 100),
        ("--mu", 0),
        ("--anchor-l1", -1),
        ("--anchor-l1", "nan"),
        ("--teacher-share", 0),
        ("--scales", "0:4"),
        ("--scales", "wide"),
        ("--lettering", 2),
        ("--lora", 4),
        ("--validation", 3),
        ("--tracker", "paper-and-pencil"),
        ("--device", "cuda:99"),
        ("--arch", "addsr", "--stage", "teacher"),
    ],
    ids=lambda arguments: "".join(map(str, arguments[:2])),
)
def test_invalid_options_are_refused(distill, arguments):
    assert refused(distill(*arguments), 2)
    assert not Path("runs").exists()


def test_the_full_model_needs_its_teacher(addsr, photos):
    arguments = ("--data", photos, "--arch", "addsr", "--device", "cpu", "--crop", 64)
    assert refused(addsr("distill", *arguments), 4, "seesr is not installed", "models pull seesr")


def test_the_full_model_needs_a_gpu_unless_a_device_is_chosen(addsr, photos, monkeypatch):
    monkeypatch.setattr("addsr_cli.hardware.best_device", lambda: "cpu")
    assert refused(addsr("distill", "--data", photos, "--crop", 64), 2, "CUDA GPU", "--device cpu")


def test_a_teacher_that_is_no_model_is_refused(distill):
    Path("void").mkdir()
    assert refused(distill("--teacher", "void"), 4, "holds no model")


def test_a_loss_that_is_no_number_names_its_network(distill, monkeypatch):
    monkeypatch.setattr(TaWeights, "__call__", lambda self, *_: torch.tensor(np.nan))
    assert refused(distill(), 1, "loss of the student became nan", "resume")


def test_a_full_disk_is_one_error(distill, monkeypatch):
    def full(state, file):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(torch, "save", full)
    assert refused(distill(), 7, "No space left", "--resume latest")


def test_a_disk_that_fills_up_leaves_no_half_checkpoint(distill, disk):
    folder = disk("size=256k")
    assert refused(distill("-o", folder / "run", "--save-every", 1), 7, "could not be written")
    assert not list((folder / "run" / "checkpoints").iterdir())


@pytest.mark.parametrize("part", ["log.jsonl", "samples", "export", "config.json"])
def test_an_unwritable_output_is_one_error(distill, part):
    blocked = Path("run") / part
    if part in ("samples", "export"):
        blocked.parent.mkdir()
        blocked.touch()
    else:
        blocked.mkdir(parents=True)
    assert refused(
        distill("-o", "run", "--sample-every", 1),
        7,
        f"run/{part}" if part != "config.json" else "run",
    )


def test_a_picture_that_cannot_be_encoded_is_one_error(distill, monkeypatch):
    monkeypatch.setattr("addsr_cli.train.results.cv2.imwrite", lambda *_: False)
    assert refused(distill(), 7, "no image could be written")


def test_a_run_folder_that_is_a_file_is_refused(distill):
    Path("run").touch()
    assert refused(distill("-o", "run"), 7, "cannot be written")


def test_a_dry_run_prints_the_cost_and_writes_nothing(distill):
    done = distill("--dry-run")
    assert done.code == 0
    for word in ("parameters", "GiB  optimiser", "TFLOP a step", "hours"):
        assert word in done.out
    assert not Path("runs").exists()


def test_a_dry_run_of_the_full_model_needs_no_weights(addsr, photos):
    arguments = (
        "--data",
        photos,
        "--crop",
        64,
        "--device",
        "cpu",
        "--preset",
        "lowmem",
        "--precision",
        "bf16",
    )
    record = json.loads(addsr("distill", *arguments, "--dry-run", "--json").out)
    assert (record["status"], record["trained"]) == ("planned", 386_739_280)
    assert sum(record["memory"].values()) == record["memory_total"] < 16 * 2**30
    assert record["hours"] > 0


def test_a_dry_run_shows_how_a_run_scales_to_several_gpus(addsr, photos):
    arguments = ("distill", "--data", photos, "--crop", 64, "--total-batch", 6, "--dry-run")
    outcome = addsr(*arguments, "--gpu", "a100-40g", "--gpus", 4, "--json")
    record = json.loads(outcome.out)
    assert record["fits"] is True
    assert [pace["gpus"] for pace in record["scaling"]] == [1, 2, 4]
    assert [pace["samples"] for pace in record["scaling"]] == [6, 6, 6]
    assert 0 < record["scaling"][2]["efficiency"] < 1
    assert (record["batches"], record["batch_size"]) == (1, 2)
    assert record["workers_needed"] >= 1
    assert addsr(*arguments, "--gpus", 4).code == 2


def test_every_gpu_of_the_plan_is_a_choice():
    assert set(get_args(GpuName)) == set(GPUS)


@pytest.mark.parametrize(("memory", "fits"), [("12G", False), ("40G", True)])
def test_a_dry_run_plans_for_a_card_that_is_not_here(addsr, photos, memory, fits):
    arguments = ("distill", "--data", photos, "--crop", 64, "--memory", memory, "--dry-run")
    record = json.loads(addsr(*arguments, "--json").out)
    assert (record["fits"], record["hours"]) == (fits, None)
    output = addsr(*arguments).out
    assert f"{'fits' if fits else 'does not fit'} into {memory[:-1]}.0 GiB" in output
    assert ("--preset lowmem" in output) is not fits
    assert "hours" not in output


def test_without_a_gpu_the_full_model_is_refused_with_a_way_to_plan(addsr, photos):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    outcome = addsr("distill", "--data", photos, "--crop", 64, "--dry-run")
    assert outcome.code == 2
    assert "--dry-run --memory 40G" in outcome.err


@pytest.mark.parametrize("arguments", [["--memory", "40G"], ["--memory", "40 apples", "--dry-run"]])
def test_planning_for_a_memory_size_needs_a_dry_run_and_a_valid_size(addsr, photos, arguments):
    outcome = addsr("distill", "--data", photos, *arguments)
    assert outcome.code == 2
    assert "--memory" in outcome.err
