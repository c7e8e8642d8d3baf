"""The device of a run: the requested one, or one per process; no other is opened."""

import os
from types import SimpleNamespace

import pytest
import torch

from addsr_cli.errors import UsageError
from addsr_cli.hardware import Hardware
from addsr_cli.train import build
from addsr_cli.train.config import TrainConfig


@pytest.fixture
def gpu_calls(monkeypatch):
    """Two fake GPUs that record every call, and an accelerator that is only constructed."""
    calls = []
    fakes = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "memory_reserved": lambda index: 0,
        "memory_allocated": lambda index: 0,
        "get_device_capability": lambda index: (8, 0),
        "get_device_name": lambda index: "a GPU",
        "mem_get_info": lambda index: calls.append(("opened", int(index))) or (10**10, 10**10),
        "set_device": lambda device: calls.append(("current", str(device))),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(
        build,
        "Accelerator",
        lambda **options: calls.append(("accelerator", options["cpu"], accelerate_device())),
    )
    for name in ("LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return calls


def accelerate_device():
    """The device in accelerate's environment variable, or None."""
    return os.environ.get("ACCELERATE_TORCH_DEVICE")


def set_launch_environment(monkeypatch, number, count=2):
    monkeypatch.setenv("LOCAL_RANK", str(number))
    monkeypatch.setenv("WORLD_SIZE", str(count))


def start(tmp_path, device):
    build.accelerator_for(TrainConfig(data=(tmp_path,), output=tmp_path, device=device))


@pytest.mark.parametrize(
    ("device", "index"), [("cuda:1", 1), ("cuda:0", 0), ("cuda", 0), ("auto", 0)]
)
def test_the_requested_gpu_is_current_before_the_accelerator_starts(
    gpu_calls, tmp_path, device, index
):
    start(tmp_path, device)
    assert gpu_calls == [
        ("opened", index),
        ("current", f"cuda:{index}"),
        ("accelerator", False, f"cuda:{index}"),
    ]


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize(("number", "index"), [(0, 0), (1, 1), (3, 1)])
def test_each_process_opens_only_its_own_gpu(
    gpu_calls, tmp_path, monkeypatch, device, number, index
):
    set_launch_environment(monkeypatch, number, 4)
    start(tmp_path, device)
    assert gpu_calls == [
        ("opened", index),
        ("current", f"cuda:{index}"),
        ("accelerator", False, f"cuda:{index}"),
    ]


def test_several_processes_refuse_to_share_one_named_gpu(gpu_calls, tmp_path, monkeypatch):
    set_launch_environment(monkeypatch, 0)
    with pytest.raises(UsageError, match="one device, but several processes"):
        start(tmp_path, "cuda:1")
    assert gpu_calls == []
    set_launch_environment(monkeypatch, 0, 1)
    start(tmp_path, "cuda:1")
    assert gpu_calls == [("opened", 1), ("current", "cuda:1"), ("accelerator", False, "cuda:1")]
    assert accelerate_device() is None


def test_training_on_the_cpu_opens_no_gpu(gpu_calls, tmp_path, monkeypatch):
    set_launch_environment(monkeypatch, 1)
    start(tmp_path, "cpu")
    assert gpu_calls == [("accelerator", True, None)]


def test_processes_wait_for_hours_while_the_first_measures(gpu_calls, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        build, "Accelerator", lambda **options: seen.append(SimpleNamespace(**options))
    )
    start(tmp_path, "cpu")
    [handler] = seen[0].kwargs_handlers
    assert handler.timeout.total_seconds() >= 3600


def test_accelerate_keeps_the_configured_gpu(tmp_path, monkeypatch):
    """The real one, which never touches a device by itself."""
    for name in ("LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    card = Hardware(
        device="cuda:1", name="it", free_bytes=1, total_bytes=1, bf16=True, fp16=True, threads=1
    )
    monkeypatch.setattr(build.hardware, "probe", lambda _: card)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr("accelerate.state.check_cuda_p2p_ib_support", lambda: True)
    config = TrainConfig(data=(tmp_path,), output=tmp_path, device="cuda:1", precision="fp32")
    assert build.accelerator_for(config).device == torch.device("cuda:1")
