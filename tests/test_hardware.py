"""What the machine says about itself, and what its container allows."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from addsr_cli import hardware
from addsr_cli.errors import UsageError
from addsr_cli.hardware import (
    gpu_driver_version,
    is_out_of_memory,
    matmul_flops,
    peak_resident_bytes,
    probe,
    synchronize,
)


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """Writes the three files of a control group and makes the probe read them."""
    own = tmp_path / "own"
    own.write_text("4:cpu,memory:/outer/inner\n0::/outer/inner\n")
    mounts = [(tmp_path / f"version{mount.name}", *more) for mount, *more in hardware.CGROUPS]
    monkeypatch.setattr(hardware, "CGROUPS", tuple(mounts))
    monkeypatch.setattr(hardware, "OWN_CGROUPS", own)

    def write(limit, used, stat="anon 1\ninactive_file 0", place=0, group="outer/inner"):
        mount, _, names = mounts[place]
        folder = mount / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in zip(names, (limit, used, stat), strict=True):
            (folder / name).write_text(f"{text}\n")

    return write


def test_the_cpu_is_a_plausible_machine():
    cpu = probe("cpu")
    assert (cpu.device, cpu.kind, cpu.fp16) == ("cpu", "cpu", False)
    assert 0 < cpu.free_bytes <= cpu.total_bytes
    assert isinstance(cpu.free_bytes, int)
    assert cpu.threads >= 1
    assert cpu.name


def test_auto_is_the_best_device_there_is():
    assert probe("auto").kind == hardware.best_device()


@pytest.mark.parametrize("name", ["tpu", "", "cpu:0", "cuda:x", "cuda:99", "gpu"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(UsageError, match="There is no"):
        probe(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_a_missing_card_is_refused():
    with pytest.raises(UsageError, match="0 CUDA"):
        probe("cuda")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="has MPS")
def test_a_missing_mps_is_refused():
    with pytest.raises(UsageError, match="MPS"):
        probe("mps")


@pytest.mark.parametrize("place", [0, 1])
def test_a_container_limits_what_is_free(cgroup, place):
    cgroup(50_000_000, 20_000_000, place=place)
    assert (probe("cpu").total_bytes, probe("cpu").free_bytes) == (50_000_000, 30_000_000)


@pytest.mark.parametrize("group", ["", "outer", "outer/inner", "outer/inner/unseen"])
def test_the_groups_around_a_group_limit_it_too(cgroup, group):
    cgroup(80_000_000, 10_000_000, group="outer/inner")
    cgroup(50_000_000, 20_000_000, group=group)
    limit = 80_000_000 if "unseen" in group else 50_000_000
    assert probe("cpu").total_bytes == limit
    assert probe("cpu").free_bytes == (70_000_000 if "unseen" in group else 30_000_000)


@pytest.mark.parametrize("field", ["inactive_file", "total_inactive_file"])
def test_cached_files_count_as_free(cgroup, field):
    cgroup(50_000_000, 20_000_000, f"anon 5\n{field} 15000000")
    assert probe("cpu").free_bytes == 45_000_000


def test_an_overdrawn_container_has_nothing_free(cgroup):
    cgroup(50_000_000, 60_000_000)
    assert probe("cpu").free_bytes == 0


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_a_container_without_a_limit_does_not_matter(cgroup, limit):
    cgroup(limit, 1000)
    assert probe("cpu").total_bytes == psutil.virtual_memory().total


def test_files_that_make_no_sense_do_not_matter(cgroup):
    cgroup("plenty", "some")
    assert probe("cpu").total_bytes == psutil.virtual_memory().total


def test_without_any_file_the_whole_machine_counts(cgroup, monkeypatch):
    assert probe("cpu").total_bytes == psutil.virtual_memory().total
    monkeypatch.setattr(hardware, "OWN_CGROUPS", Path("/nowhere/at/all"))
    assert probe("cpu").total_bytes == psutil.virtual_memory().total


def test_without_the_private_names_of_torch_the_flags_decide(monkeypatch):
    monkeypatch.setattr(torch, "cpu", object())
    monkeypatch.setattr(hardware, "_cpu_info", lambda field: "fpu amx_bf16 sse")
    assert hardware._cpu_multiplies_bf16()
    monkeypatch.setattr(hardware, "_cpu_info", lambda field: "fpu sse")
    assert not hardware._cpu_multiplies_bf16()


def test_the_peak_is_at_least_what_is_held_now():
    assert peak_resident_bytes() >= psutil.Process().memory_info().rss * 0.9


def test_the_speed_of_matrices_is_measured_in_sane_units():
    assert 1e8 < hardware.matmul_flops(128) < 1e15


@pytest.mark.slow
def test_peak_memory_can_be_counted_anew():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux forgets the peak of a process")
    code = """
from addsr_cli.hardware import reset_peak_memory, peak_bytes
buffer = b"x" * 200_000_000
high = peak_bytes("cpu")
del buffer
reset_peak_memory("cpu")
print(high - peak_bytes("cpu"))
"""  # a process of its own: this one may have used far more before
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100_000_000


def test_multiplying_has_a_speed_in_every_type_that_models_run_in():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert matmul_flops(64, "cpu", dtype) > 1e6


def test_convolutions_have_a_speed_too():
    for dtype in (torch.float32, torch.bfloat16):
        assert 1e6 < hardware.convolution_flops(8, 32, dtype=dtype) < 1e15


def test_a_cpu_can_be_synchronized_and_the_driver_version_is_read(monkeypatch):
    synchronize("cpu")
    monkeypatch.setattr(
        Path, "read_text", lambda *_, **__: "NVRM version: NVIDIA UNIX Module  580.65  x86_64"
    )
    assert gpu_driver_version() == "580.65"


def test_blocks_that_torch_keeps_on_a_card_are_free_for_the_next_picture(monkeypatch):
    fakes = {
        "device_count": lambda: 2,
        "mem_get_info": lambda index: (3_000, 8_000),
        "memory_reserved": lambda index: 4_500,
        "memory_allocated": lambda index: 4_000,
        "get_device_capability": lambda index: (8, 6),
        "get_device_name": lambda index: "a card",
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    card = probe("cuda:1")
    assert (card.device, card.free_bytes, card.total_bytes) == ("cuda:1", 3_500, 8_000)
    assert (card.fp16, card.bf16) == (True, True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's counters")
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_limits_of_the_process_count(monkeypatch, name):
    import resource

    plain, chosen = resource.getrlimit, getattr(resource, name)
    memory = psutil.Process().memory_info()
    limit = (memory.vms if name == "RLIMIT_AS" else memory.data) + 200_000_000
    monkeypatch.setattr(
        resource, "getrlimit", lambda kind: (limit, limit) if kind == chosen else plain(kind)
    )
    cpu = probe("cpu")
    assert cpu.total_bytes == limit
    assert 150_000_000 < cpu.free_bytes <= 250_000_000


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a "
        "non-contiguous input.",
        "GET was unable to find an engine to execute this computation",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
        "NVML_SUCCESS == r INTERNAL ASSERT FAILED at "
        '"/pytorch/c10/cuda/CUDACachingAllocator.cpp":1090',
        "HIP error: hipErrorOutOfMemory",
        "MPS backend out of memory (MPS allocated: 6.2 GB)",
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: "
        "you tried 8 bytes",
        "unable to mmap 1000 bytes from file <weights>: Cannot allocate memory (12)",
        "std::bad_alloc",
    ],
)
def test_every_way_of_saying_that_memory_ran_out_is_understood(words):
    assert is_out_of_memory(RuntimeError(words))


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "Input type (c10::Half) and bias type (float) should be the same",
    ],
)
def test_other_errors_of_a_card_are_not_taken_for_a_lack_of_memory(words):
    assert not is_out_of_memory(RuntimeError(words))
