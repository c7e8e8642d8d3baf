import sys
from types import ModuleType

import pytest
import torch

from addsr_cli.bench.learned import NAMES, learned


@pytest.fixture
def pyiqa(monkeypatch):
    """A stand-in for the library: blind metrics see the result's mean, the others the difference of the means."""

    class Network(torch.nn.Module):
        def __init__(self, name):
            super().__init__()
            self.blind = name in ("musiq", "maniqa", "clipiqa")
            self.metric_mode, self.lower_better = "NR" if self.blind else "FR", not self.blind

        def forward(self, result, reference=None):
            assert result.shape[1] == 3
            assert result.max() <= 1
            assert self.blind is (reference is None)
            return (result.mean() if self.blind else result.mean() - reference.mean()).reshape(1, 1)

    def create_metric(name, device):
        if name == "dists":
            raise OSError("no way to the weights\nand more")
        return Network(name)

    module = ModuleType("pyiqa")
    module.create_metric = create_metric
    monkeypatch.setitem(sys.modules, "pyiqa", module)


@pytest.mark.usefixtures("pyiqa")
def test_metrics_are_pyiqas_with_its_direction_and_variant(clean, noisy):
    found, missing = learned("cpu")
    by_name = {metric.name: metric for metric in found}
    assert list(by_name) == [name for name in NAMES if name != "dists"]
    assert by_name["musiq"].blind
    assert by_name["musiq"].larger
    assert not by_name["lpips"].larger
    assert by_name["lpips"].variant.startswith("pyiqa ")
    assert by_name["musiq"].measure(clean, noisy) == pytest.approx(noisy.mean() / 255, abs=1e-5)
    assert by_name["lpips"].measure(clean, noisy) == pytest.approx((noisy.mean() - clean.mean()) / 255, abs=1e-5)
    assert missing == "no dists (no way to the weights)"


def test_without_pyiqa_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    found, missing = learned("cpu")
    assert found == []
    assert "\n" not in missing
    assert "addsr[metrics]" in missing
