"""The results of a run: model card, curves, grid and measurements."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import cv2
import pytest
import torch
from bundles import write_bundle
from skimage.metrics import structural_similarity

from addsr_cli.train import results
from addsr_cli.train.config import TrainConfig
from addsr_cli.train.curves import _thin, curves
from addsr_cli.train.data.dataset import PairDataset
from addsr_cli.train.recipe import preset
from addsr_cli.train.trainer import Trainer

ROW = {"lr": 1e-3, "seconds_per_step": 1.0, "memory": 0, "steps": 3}


@pytest.fixture
def student(configured):
    """Makes configurations of a student's run."""
    return lambda **changes: configured(
        **{"stage": "student", "recipe": preset("paper", "tiny-nano"), "steps": 2} | changes
    )


def log(folder, *values):
    same = ROW | {"by_timestep": {"999": 0.5, "249": 0.1}}
    rows = [same | {"step": k + 1, "values": each} for k, each in enumerate(values)]
    (folder / "log.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder / "log.jsonl"


def test_a_run_exports_weights_card_curves_grid_and_settings(student):
    config = student(validation=1)
    folder = Trainer(config).run()
    assert {path.name for path in folder.iterdir()} == {
        *("nano.safetensors", "bundle.json", "training.json", "README.md", "curves.svg", "grid.png")
    }
    assert TrainConfig.from_json((folder / "training.json").read_text()) == config.portable()
    assert cv2.imread(str(folder / "grid.png")).shape == (4 * 64, 4 * 64, 3)
    ElementTree.fromstring((folder / "curves.svg").read_text())
    card = (folder / "README.md").read_text()
    assert "tiny-nano, student" in card
    assert "2 photos; 1 of them held out. Samples seen: 4" in card
    for name in ("curves.svg", "grid.png", '"indexing": "target"'):
        assert name in card


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_card_measures_before_and_after_on_held_out_photos(student, precision):
    trainer = Trainer(student(validation=2, lr=0.05, precision=precision))
    card = (trainer.run() / "README.md").read_text()
    rows = dict(re.findall(r"^\| (\w.*?) \| (.*) \|$", card, re.MULTILINE))
    assert list(rows) == [
        "bicubic",
        "before, 1 step",
        "before, 4 steps",
        "after, 1 step",
        "after, 4 steps",
    ]
    pairs = PairDataset(trainer.held_out, trainer.config)
    with trainer.ema.applied():
        for name, which, steps in (
            ("bicubic", None, 1),
            ("before, 4 steps", trainer.model.teacher, 4),
            ("after, 1 step", trainer.model.student, 1),
        ):
            quality = results.score(
                trainer.model, which, pairs, steps, trainer.accelerator.autocast
            )
            assert rows[name] == f"{quality.psnr:.2f} | {quality.ssim:.4f}"
    assert rows["before, 1 step"] != rows["after, 1 step"]
    assert "2 held-out photos" in card


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_card_measures_the_enlarged_input_in_float32(student, precision):
    trainer = Trainer(student(validation=2, steps=1, precision=precision))
    card = (trainer.run() / "README.md").read_text()
    similarities = []
    for pair in (PairDataset(trainer.held_out, trainer.config)[position] for position in range(2)):
        canvas, hr = (pair[name].permute(1, 2, 0).double().numpy() for name in ("canvas", "hr"))
        similarities.append(structural_similarity(canvas, hr, channel_axis=-1, data_range=1))
    bicubic = re.search(r"^\| bicubic \| .* \| (.*) \|$", card, re.MULTILINE)[1]
    assert float(bicubic) == pytest.approx(sum(similarities) / 2, abs=1e-4)


def test_the_card_of_a_teacher_has_no_row_before_training(configured):
    card = (Trainer(configured(steps=1, validation=1)).run() / "README.md").read_text()
    assert "| before" not in card
    assert "after, 4 steps" in card


def test_nothing_is_measured_on_photos_of_the_training(student, monkeypatch):
    monkeypatch.setattr(results, "score", lambda *_: pytest.fail("measured"))
    card = (Trainer(student()).run() / "README.md").read_text()
    assert "nothing was measured" in card
    assert "dB" not in card


def test_held_out_photos_are_never_trained_on(student, monkeypatch):
    trainer = Trainer(student(validation=1, steps=6))
    (path,) = trainer.held_out.paths
    seen, photo = set(), PairDataset._photo
    monkeypatch.setattr(
        PairDataset,
        "_photo",
        lambda self, index: (seen.add(self.photos.paths[index]), photo(self, index))[1],
    )
    for _ in trainer._batches():
        pass
    assert seen == set(trainer.photos.paths)
    assert path not in seen


def test_the_score_of_the_canvas_equals_that_of_a_network_that_returns_it(student, mirror):
    trainer = Trainer(student(validation=1, mix=(("clean", 1.0),)))
    pairs = PairDataset(trainer.held_out, trainer.config)
    plain = results.score(trainer.model, None, pairs, 1)
    pair = pairs[0]
    error = (pair["canvas"] - pair["hr"]).square().mean()
    assert plain.psnr == pytest.approx(-10 * error.log10().item(), abs=1e-4)
    same = results.score(trainer.model, trainer.model.teacher, pairs, 1)
    assert same.psnr == pytest.approx(plain.psnr, abs=1e-3)


def test_curves_are_one_chart_for_every_figure(tmp_path):
    rows = (
        {"real": 0.1, "fake": 0.0, "grad_norm": 2.0},
        {"real": 0.2, "fake": -0.1, "grad_norm": 1.0},
    )
    svg = curves(log(tmp_path, *rows))
    ElementTree.fromstring(svg)
    titles = re.findall(r'font-weight="bold">([^<]*)<', svg)
    assert titles == ["distance by timestep", "mean logits", "grad norm"]
    assert svg.count("<polyline") == 5
    assert "t=999" in svg


def test_a_norm_that_overflowed_is_missing_from_its_curve(tmp_path):
    svg = curves(log(tmp_path, {"grad_norm": None}, {"grad_norm": 1.0}, {"grad_norm": None}))
    ElementTree.fromstring(svg)
    assert "1 .. 1, 2 steps" in svg


def test_long_curves_are_thinned_to_means():
    assert _thin([(0, 1.0), (1, 3.0), (2, 5.0)], most=2) == [(1, 2.0), (2, 5.0)]
    assert len(_thin([(x, 0.0) for x in range(10_000)])) == 200


def test_the_full_model_is_sampled_and_exported_in_half_precision(
    student, device, tmp_path, monkeypatch
):
    monkeypatch.setattr(results, "GRID_PHOTOS", 1)
    monkeypatch.setattr(results, "STEP_COUNTS", (1,))
    recipe = replace(preset("lowmem", "addsr"), discriminator="conv", space="latent")
    teacher = str(write_bundle(tmp_path / "seesr"))
    few = {"batch_size": 1, "steps": 1, "sample_every": 1, "validation": 1}
    config = student(
        arch="addsr", device=device, precision="bf16", recipe=recipe, teacher=teacher, **few
    )
    trainer = Trainer(config)
    folder = trainer.run()
    assert (config.output / "samples" / "step-0000001.png").is_file()
    assert {"bundle.json", "delta.safetensors", "unet", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    assert "| after, 1 step |" in (folder / "README.md").read_text()
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters.values())


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("hr", {}, ["read off it"]),
        ("hr", {"known": "a cat, fur"}, ["a cat, fur"]),
        ("lr", {"known": "a cat, fur"}, ["read off it"]),
        ("lr", {"known": "none"}, ["none"]),
    ],
)
def test_grids_and_measurements_use_the_text_that_the_student_trains_with(
    student, monkeypatch, text, known, expected
):
    monkeypatch.setattr(results, "STEP_COUNTS", (1,))
    recipe = replace(preset("paper", "tiny-nano"), student_text=text)
    trainer, seen_tags = Trainer(student(validation=1, recipe=recipe)), []

    def encode_text(picture, tags, drop_text):
        assert not drop_text.any()
        seen_tags.extend(tag or "read off it" for tag in tags)

    monkeypatch.setattr(trainer.model, "encode_text", encode_text)
    trainer.tags = {str(path): tags for path in trainer.held_out.paths for tags in known.values()}
    trainer.write_samples()
    trainer.config.output.mkdir(exist_ok=True)
    (trainer.config.output / "log.jsonl").write_text("")
    folder = trainer.config.output
    results.write_card(
        trainer.config,
        trainer.model,
        trainer.photos,
        trainer.held_out,
        folder,
        tags=trainer.tags,
        samples=0,
    )
    assert len(seen_tags) == 2 * results.GRID_PHOTOS + 2
    assert set(seen_tags) == set(expected)
