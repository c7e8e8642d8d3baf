"""LPIPS and DISTS as metrics of the bench."""

import math

import pytest
import torch

from addsr_cli.bench.learned import NAMES, learned_metrics
from addsr_cli.perceptual import DISTS, LPIPS


def tensor(picture):
    return torch.from_numpy(picture).permute(2, 0, 1)[None] / 255


def test_each_metric_names_its_variant_and_gives_its_value(clean, noisy, perceptual_weights):
    metrics, missing = learned_metrics("cpu")
    assert missing == ""
    assert {metric.name: metric.variant for metric in metrics} == {
        "lpips": "LPIPS-Alex v0.1",
        "lpips_vgg": "LPIPS-VGG v0.1",
        "dists": "DISTS v0.1",
    }
    assert not any(metric.higher_is_better or metric.no_reference for metric in metrics)
    clean, noisy = clean[:40, :36], noisy[:40, :36]
    networks = [LPIPS.load("alex"), LPIPS.load("vgg"), DISTS.load()]
    for metric, network in zip(metrics, networks, strict=True):
        expected = network(tensor(noisy), tensor(clean)).item()
        assert metric.measure(clean, noisy) == pytest.approx(expected, abs=1e-5)
        assert metric.measure(clean, clean) == pytest.approx(0, abs=1e-6)


def test_only_requested_metrics_are_loaded(perceptual_weights):
    metrics, _ = learned_metrics("cpu", ["dists"])
    assert [metric.name for metric in metrics] == ["dists"]


def test_a_picture_below_the_smallest_has_no_value(clean, perceptual_weights):
    metrics, _ = learned_metrics("cpu", ["lpips"])
    assert math.isnan(metrics[0].measure(clean[:20], clean[:20]))


def test_without_weights_one_line_says_how_to_get_them():
    metrics, missing = learned_metrics("cpu")
    assert metrics == []
    assert "\n" not in missing
    assert missing.startswith("no LPIPS-Alex v0.1, LPIPS-VGG v0.1, DISTS v0.1: ")
    assert missing.endswith("python -m addsr_cli.fetch_perceptual")
    assert len(NAMES) == 3
