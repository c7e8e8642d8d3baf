"""What machine this is. The only file that asks."""

import gc
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from addsr_cli.errors import UsageError

LARGE_MATRIX = {"cpu": 1024, "mps": 2048, "cuda": 8192}  # a side that fills the device
OUT_OF_MEMORY_MESSAGES = (
    "out of memory",
    "outofmemory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "cudaerrormemoryallocation",
    "alloc_failed",  # of cuBLAS, cuDNN, cuSOLVER, cuFFT, for their workspaces
    "allocation_failed",  # cuDNN 9
    "when calling `cublascreate",  # a handle needs memory too
    "cudnn_status_not_initialized",
    "cudnn_status_not_supported",  # what cuDNN says where no engine's workspace fits
    "unable to find an engine to execute this computation",
    "nvml_success == r",  # the allocator's report of a lack of memory, where it cannot ask the driver for more
)
CGROUP_FILES = (
    (
        Path("/sys/fs/cgroup/memory.max"),
        Path("/sys/fs/cgroup/memory.current"),
        Path("/sys/fs/cgroup/memory.stat"),
    ),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.stat"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The device that will do the work. ``bf16``, ``fp16``: whether it multiplies that type fast, not merely at all."""

    device: str
    name: str
    free_bytes: int
    total_bytes: int
    bf16: bool
    fp16: bool
    threads: int

    @property
    def kind(self) -> str:
        """``cpu``, ``cuda`` or ``mps``."""
        return self.device.split(":")[0]


def probe(device: str = "auto") -> Hardware:
    """Look at ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``; auto takes CUDA, then MPS, then the CPU."""
    chosen = best_device() if device == "auto" else device
    if chosen == "cpu":
        return _cpu()
    if chosen == "mps":
        if not torch.backends.mps.is_available():
            raise UsageError("This machine has no MPS device.", "Use --device auto or cpu.")
        return _mps()
    if chosen == "cuda" or chosen.startswith("cuda:"):
        return _cuda(chosen)
    raise UsageError(
        f"There is no device called {device!r}.", "Use auto, cpu, mps, cuda or cuda:N."
    )


def best_device() -> str:
    """The device that ``auto`` means."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def peak_resident_bytes() -> int:
    """Most memory this process held since its start or ``reset_peak_memory``, bytes; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if (
        status.is_file()
    ):  # what getrusage tells on Linux outlives forgetting, and a child inherits its parent's
        lines = (
            line.split()
            for line in status.read_text(encoding="ascii", errors="replace").splitlines()
        )
        found = next((int(words[1]) for words in lines if words and words[0] == "VmHWM:"), 0)
        if found:
            return found * 1024
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def peak_bytes(device: str) -> int:
    """Most memory that the work on ``device`` held since ``reset_peak_memory``: the GPU's own, or that of this process."""
    return (
        torch.cuda.max_memory_allocated(device)
        if device.startswith("cuda")
        else peak_resident_bytes()
    )


def reset_peak_memory(device: str) -> None:
    """Begin counting peak memory anew, where the system allows it: on CUDA, and for a process on Linux."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def synchronize(device: str) -> None:
    """Wait until ``device`` has done what it was given, so that a clock tells the truth."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def load_per_core() -> float:
    """How many processes waited for a core or had one, on average over the last minute, per core."""
    return psutil.getloadavg()[0] / (psutil.cpu_count() or 1)


def gpu_driver_version() -> str:
    """Version of the GPU's driver as the system tells it, or empty."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").split()
    except OSError:
        return ""
    return next((word for word in words if word[0].isdigit()), "")


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether this is one of the ways in which torch and the system say that memory ran out."""
    known = isinstance(exc, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(exc).lower() for words in OUT_OF_MEMORY_MESSAGES)


def release_memory(device: str) -> None:
    """Give back what nobody holds any more, in main memory and on ``device``."""
    gc.collect()
    if device.startswith("cuda"):
        with torch.cuda.device(
            device
        ):  # emptying opens the current card, which is the first unless told otherwise
            torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def devices() -> list[str]:
    """All devices worth a process of their own: every CUDA device, else what ``auto`` means."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or [best_device()]


def matmul_flops(size: int = 768, device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Measured speed of multiplying square matrices on a device, FLOP per second; takes a few milliseconds on a CPU."""
    from time import perf_counter

    a = torch.randn(size, size, device=device).to(dtype)
    a @ a
    best = float("inf")
    for _ in range(3):
        synchronize(device)
        start = perf_counter()
        a @ a
        synchronize(device)
        best = min(best, perf_counter() - start)
    return 2 * size**3 / best


def _cpu() -> Hardware:
    memory = psutil.virtual_memory()
    limits, rooms = zip(_container_memory(), _process_memory(), strict=True)
    return Hardware(
        device="cpu",
        name=_cpu_name(),
        free_bytes=int(min(memory.available, *rooms)),
        total_bytes=int(min(memory.total, *limits)),
        bf16=_cpu_multiplies_bf16(),
        fp16=False,
        threads=torch.get_num_threads(),
    )


def _mps() -> Hardware:
    total = torch.mps.recommended_max_memory()
    used = (
        torch.mps.current_allocated_memory()
    )  # without the blocks that torch keeps for the next picture
    return Hardware(
        device="mps",
        name=platform.processor() or "Apple GPU",
        free_bytes=min(total - used, psutil.virtual_memory().available),
        total_bytes=total,
        bf16=False,
        fp16=True,
        threads=torch.get_num_threads(),
    )


def _cuda(device: str) -> Hardware:
    count = torch.cuda.device_count()
    number = device.partition(":")[2] or "0"
    if not number.isdigit() or int(number) >= count:
        raise UsageError(
            f"There is no {device}: this machine has {count} CUDA device(s).",
            "Try --device auto or cpu.",
        )
    index = int(number)
    free, total = torch.cuda.mem_get_info(index)
    kept = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(
        index
    )  # by torch, for the next picture
    major, _ = torch.cuda.get_device_capability(index)
    return Hardware(
        device=f"cuda:{index}",
        name=torch.cuda.get_device_name(index),
        free_bytes=free + kept,
        total_bytes=total,
        bf16=major >= 8,
        fp16=major >= 7 or torch.version.hip is not None,
        threads=torch.get_num_threads(),
    )


def _cpu_multiplies_bf16() -> bool:
    """Whether the processor has AMX tiles or AVX-512 BF16; without them bf16 is emulated and far slower than fp32."""
    try:
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    except AttributeError:  # private names, so a later torch may lack them
        return bool({"amx_bf16", "avx512_bf16"} & set(_cpu_info("flags").split()))


def _cpu_name() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_info(field: str) -> str:
    """One field of the first processor in /proc/cpuinfo; empty elsewhere than on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _container_memory() -> tuple[float, float]:
    """Limit and room of the control group that this process lives in, bytes; infinite when there is none."""
    for limit_file, used_file, stat_file in CGROUP_FILES:
        try:
            limit, used = limit_file.read_text().strip(), int(used_file.read_text())
            if limit == "max":
                return float("inf"), float("inf")
            stat = dict(line.split() for line in stat_file.read_text().splitlines())
        except (OSError, ValueError):
            continue
        cache = int(stat.get("inactive_file", stat.get("total_inactive_file", "0")))
        return float(limit), max(0.0, float(limit) - used + cache)
    return float("inf"), float("inf")


def _process_memory() -> tuple[float, float]:
    """Limit and room that the process itself was given (``ulimit -v`` and ``-d``), bytes; infinite without limits."""
    try:
        import resource
    except ImportError:  # Windows has none
        return float("inf"), float("inf")
    limit = room = float("inf")
    held = psutil.Process().memory_info()
    for kind, used in (
        (resource.RLIMIT_AS, held.vms),
        (resource.RLIMIT_DATA, getattr(held, "data", 0)),
    ):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            limit, room = min(limit, soft), min(room, max(0, soft - used))
    return limit, room
