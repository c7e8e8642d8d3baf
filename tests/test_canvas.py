"""The canvas has the size of the output."""

import pytest

from addsr_cli.canvas import canvas_size
from addsr_cli.engine.upscaler import Upscaler
from addsr_cli.settings import Machine, Settings


@pytest.mark.parametrize("size", [(96, 72), (1, 1), (601, 17)])
def test_the_network_works_at_the_size_of_the_output(size):
    assert canvas_size(*size) == size


def test_a_model_with_a_least_side_gets_a_larger_canvas_of_the_same_shape():
    assert canvas_size(96, 72, shortest=512) == (683, 512)
    assert canvas_size(1000, 600, shortest=512) == (1000, 600)


@pytest.mark.parametrize(("scale", "sizes"), [(1, [(40, 30)]), (2, [(80, 60)]), (4, [(160, 120)])])
def test_half_the_scale_means_a_quarter_of_the_work(scale, sizes):
    upscaler = Upscaler("nano", Machine(device="cpu"))
    plans = upscaler.plan(40, 30, Settings(scale=scale))
    assert [(plan.width, plan.height) for plan in plans] == sizes
