"""The machine: devices, memory and speed. No other module asks the system about these."""

import gc
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import get_clock_info, perf_counter, process_time

import psutil
import torch

from addsr_cli.errors import UsageError

LARGE_MATRIX = {"cpu": 1024, "mps": 2048, "cuda": 8192}  # a side that keeps the device busy
OUT_OF_MEMORY_MESSAGES = (
    "out of memory",
    "outofmemory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "cudaerrormemoryallocation",
    "alloc_failed",  # workspaces of cuBLAS, cuDNN, cuSOLVER and cuFFT
    "allocation_failed",  # cuDNN 9
    "when calling `cublascreate",  # a handle needs memory too
    "cudnn_status_not_initialized",
    "cudnn_status_not_supported",  # cuDNN's answer when no engine's workspace fits
    "unable to find an engine to execute this computation",
    "nvml_success == r",  # the allocator's report where it cannot ask the driver for more
)
# Version 2 and version 1 of control groups: where they are mounted, the controller that names them
# in the process's own list, and the files of limit, use and statistics of memory.
CGROUPS = (
    (Path("/sys/fs/cgroup"), "", ("memory.max", "memory.current", "memory.stat")),
    (
        Path("/sys/fs/cgroup/memory"),
        "memory",
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"),
    ),
)
OWN_CGROUPS = Path("/proc/self/cgroup")
UNLIMITED = float("inf")
PRECISE_PROCESS_TIME = get_clock_info("process_time").resolution < 1e-4  # seconds; not on Windows


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A device and its memory in bytes.

    ``bf16`` and ``fp16`` tell whether the device multiplies that type fast, not merely at all.
    """

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
    """Return the hardware of ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    ``auto`` takes CUDA, then MPS, then the CPU. Raises UsageError for a device that does not exist.
    """
    if device == "auto":
        device = best_device()
    if device == "cpu":
        return _cpu()
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise UsageError("This machine has no MPS device.", "Use --device auto or cpu.")
        return _mps()
    if device == "cuda" or device.startswith("cuda:"):
        return _cuda(device)
    raise UsageError(
        f"There is no device called {device!r}.", "Use auto, cpu, mps, cuda or cuda:N."
    )


def best_device() -> str:
    """Return the device that ``auto`` stands for."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def devices() -> list[str]:
    """Return the devices that can run a process each: all CUDA devices, else ``auto``'s."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return cuda or [best_device()]


def peak_bytes(device: str) -> int:
    """Return the peak memory of the work on ``device`` since ``reset_peak_memory``.

    On CUDA it is the device's memory, elsewhere that of this process.
    """
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Return the peak memory of this process since its start or ``reset_peak_memory``.

    0 where the system does not report it.
    """
    # On Linux the file is better than getrusage, whose value cannot be reset and is inherited by
    # child processes.
    peak = _status_kibibytes("VmHWM:") * 1024
    if peak:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _status_kibibytes(field: str) -> int:
    """Return a field of /proc/self/status in KiB, 0 where there is none."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0
    for line in status.read_text(encoding="ascii", errors="replace").splitlines():
        words = line.split()
        if words and words[0] == field:
            return int(words[1])
    return 0


def reset_peak_memory(device: str) -> None:
    """Start measuring the peak anew where the system allows it: on CUDA, and on Linux."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def synchronize(device: str) -> None:
    """Wait until ``device`` has finished its work, so that time can be measured."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def load_per_core() -> float:
    """Return the system's load average over the last minute, per core."""
    return psutil.getloadavg()[0] / (psutil.cpu_count() or 1)


def gpu_driver_version() -> str:
    """Return the version of the NVIDIA driver, empty where there is none."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").split()
    except OSError:
        return ""
    return next((word for word in words if word[0].isdigit()), "")


def is_out_of_memory(exc: BaseException) -> bool:
    """Return whether an exception of torch or of the system means that memory ran out."""
    if isinstance(exc, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(exc).lower()
    return any(message in text for message in OUT_OF_MEMORY_MESSAGES)


def release_memory(device: str) -> None:
    """Return unused memory to the system, in main memory and on ``device``."""
    gc.collect()
    if device.startswith("cuda"):
        # empty_cache opens the current device, which is the first one by default
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def matmul_flops(
    size: int = 768,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> float:
    """Measure the rate of multiplying two ``size`` x ``size`` matrices, in FLOP/s.

    Takes a few milliseconds on a CPU.
    """
    matrix = torch.randn(size, size, device=device).to(dtype)
    return 2 * size**3 / _least_seconds(lambda: matrix @ matrix, device)


def convolution_flops(
    channels: int,
    side: int,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> float:
    """Measure the rate of a 3x3 convolution with so many channels in and out, in FLOP/s.

    The picture has ``side`` x ``side`` pixels; channels come last, as in the models. On a CPU it is
    the rate of an otherwise idle machine: processor time is counted, which others do not lengthen.
    """
    picture = torch.randn(1, channels, side, side, device=device).to(dtype)
    kernel = torch.randn(channels, channels, 3, 3, device=device).to(dtype)
    picture = picture.contiguous(memory_format=torch.channels_last)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    seconds = _least_seconds(
        lambda: torch.nn.functional.conv2d(picture, kernel, padding=1),
        device,
        _processor_clock if device == "cpu" and PRECISE_PROCESS_TIME else perf_counter,
    )
    return 2 * 9 * channels**2 * side**2 / seconds


def _processor_clock() -> float:
    """Return the seconds of processor time so far, divided among torch's threads."""
    return process_time() / torch.get_num_threads()


def _least_seconds(
    work: Callable[[], object],
    device: str,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Return the least time of three runs, after one that loads libraries."""
    work()
    best = float("inf")
    for _ in range(3):
        synchronize(device)
        start = clock()
        work()
        synchronize(device)
        best = min(best, clock() - start)
    return best


def _cpu() -> Hardware:
    memory = psutil.virtual_memory()
    container_limit, container_free = _container_memory()
    process_limit, process_free = _process_memory()
    return Hardware(
        device="cpu",
        name=_cpu_name(),
        free_bytes=int(min(memory.available, container_free, process_free)),
        total_bytes=int(min(memory.total, container_limit, process_limit)),
        bf16=_cpu_multiplies_bf16(),
        fp16=False,
        threads=torch.get_num_threads(),
    )


def _mps() -> Hardware:
    total = torch.mps.recommended_max_memory()
    used = torch.mps.current_allocated_memory()  # without the blocks that torch caches
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
    # Blocks that torch caches will serve the next picture, so they count as free.
    cached = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
    major, _ = torch.cuda.get_device_capability(index)
    return Hardware(
        device=f"cuda:{index}",
        name=torch.cuda.get_device_name(index),
        free_bytes=free + cached,
        total_bytes=total,
        bf16=major >= 8,
        fp16=major >= 7 or torch.version.hip is not None,
        threads=torch.get_num_threads(),
    )


def _cpu_multiplies_bf16() -> bool:
    """Return whether the CPU has AMX or AVX-512 BF16.

    Without them bf16 is emulated and far slower than float32.
    """
    try:
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    except AttributeError:  # private functions, which a later torch may lack
        flags = set(_cpu_info("flags").split())
        return bool({"amx_bf16", "avx512_bf16"} & flags)


def _cpu_name() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_info(field: str) -> str:
    """Return a field of the first processor in /proc/cpuinfo, empty on systems without it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _container_memory() -> tuple[float, float]:
    """Return the least limit of the control groups around this process, and what is free, in bytes.

    Both are infinite without a limit. Groups are nested, and the limits of all of them hold.
    """
    limit = UNLIMITED
    free = UNLIMITED
    for mount, controller, names in CGROUPS:
        for folder in _own_groups(mount, controller):
            group_limit, group_free = _group_memory(*(folder / name for name in names))
            limit = min(limit, group_limit)
            free = min(free, group_free)
    return limit, free


def _own_groups(mount: Path, controller: str) -> list[Path]:
    """Return the folders of the control group of this process, and of those around it."""
    folders = [mount]  # in a container often all that can be seen
    try:
        lines = OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            for part in Path(path.lstrip("/")).parts:
                folders.append(folders[-1] / part)
    return folders


def _group_memory(limit_file: Path, used_file: Path, stat_file: Path) -> tuple[float, float]:
    """Return the limit of one control group and what is free below it, infinite without one."""
    try:
        limit = limit_file.read_text().strip()
        if limit == "max":
            return UNLIMITED, UNLIMITED
        used = int(used_file.read_text())
        stat = dict(line.split() for line in stat_file.read_text().splitlines())
        cached_files = int(stat.get("total_inactive_file", stat.get("inactive_file", "0")))
        return float(limit), max(0.0, float(limit) - used + cached_files)
    except (OSError, ValueError):
        return UNLIMITED, UNLIMITED


def _process_memory() -> tuple[float, float]:
    """Return the limit of this process (``ulimit -v`` and ``-d``) and what is free below it.

    Both are in bytes, and infinite without a limit.
    """
    try:
        import resource
    except ImportError:  # Windows
        return UNLIMITED, UNLIMITED
    memory = psutil.Process().memory_info()
    used = {resource.RLIMIT_AS: memory.vms, resource.RLIMIT_DATA: getattr(memory, "data", 0)}
    limit = UNLIMITED
    free = UNLIMITED
    for kind, used_bytes in used.items():
        soft_limit, _ = resource.getrlimit(kind)
        if soft_limit != resource.RLIM_INFINITY:
            limit = min(limit, soft_limit)
            free = min(free, max(0, soft_limit - used_bytes))
    return limit, free
