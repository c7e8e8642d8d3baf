"""Metrics that are networks, through pyiqa (the ``metrics`` extra): LPIPS, DISTS, MUSIQ, MANIQA, CLIPIQA."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from addsr_cli.bench.metrics import Metric, Picture

NAMES = ("lpips", "dists", "musiq", "maniqa", "clipiqa")  # pyiqa's own names, so its default variants


def learned(device: str, names: Sequence[str] = NAMES) -> tuple[list[Metric], str]:
    """The metrics of pyiqa that can be had here, and one line on those that cannot; weights come at first use.

    pyiqa fetches each network from its own sources when it is made; where that fails the metric is left out.
    """
    try:
        import pyiqa
    except ImportError as exc:
        return [], f'no {", ".join(names)}: pyiqa is missing ({exc}); pip install "addsr[metrics]"'
    found, missing = [], []
    for name in names:
        try:
            network = pyiqa.create_metric(name, device=torch.device(device))
        except (OSError, RuntimeError, ValueError, KeyError) as exc:  # no network, no file, a name it does not know
            missing.append(f"{name} ({_first_line(exc)})")
            continue
        found.append(_metric(name, network))
    return found, f"no {', '.join(missing)}" if missing else ""


def _metric(name: str, network: Any) -> Metric:  # noqa: ANN401 (pyiqa's InferenceModel, whose attributes are not typed)
    blind = network.metric_mode == "NR"
    return Metric(
        name=name,
        measure=partial(_measure, network, blind),
        larger=not network.lower_better,
        digits=2 if name == "musiq" else 4,
        variant=f"pyiqa {_version()} {name}",
        blind=blind,
    )


@torch.inference_mode()
def _measure(network: Callable[..., Tensor], blind: bool, reference: Picture, result: Picture) -> float:
    """pyiqa's order: the result first, then the reference."""
    pictures = [_tensor(result)] if blind else [_tensor(result), _tensor(reference)]
    return float(network(*pictures).mean())


def _tensor(picture: Picture) -> Tensor:
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255


def _version() -> str:
    try:
        return version("pyiqa")
    except PackageNotFoundError:
        return "of unknown version"


def _first_line(exc: BaseException) -> str:
    return str(exc).splitlines()[0][:100] if str(exc) else type(exc).__name__
