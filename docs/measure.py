"""Print the table of README's "Time and memory": warm times of the bundled model on this machine, and peak memory.

Run it from the repository: ``python docs/measure.py``. Times are medians of whole ``Upscaler.upscale`` calls.
"""

import statistics
import time

import numpy as np
import torch

from addsr_cli import Settings, Upscaler
from addsr_cli.hardware import peak_resident_bytes, probe

CASES = ((128, 128, 1, 9), (128, 128, 4, 5), (512, 512, 1, 3), (1000, 750, 1, 1), (1000, 750, 4, 1))


def main() -> None:
    """Measure every case on a random picture, smallest first, so that the peak is that of the row."""
    machine = probe()
    print(f"{machine.name}, {machine.threads} threads, torch {torch.__version__}\n")
    print("| photo | steps | seconds | microseconds per output pixel | peak memory |")
    print("|---|---|---|---|---|")
    upscaler = Upscaler("nano")
    for width, height, steps, runs in CASES:
        photo = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
        seconds = []
        for _ in range(runs + 1):
            start = time.perf_counter()
            upscaler.upscale(photo, Settings(steps=steps))
            seconds.append(time.perf_counter() - start)
            if width * height > 10**5 and runs == 1:
                break  # the model is warm from the rows above
        median = statistics.median(seconds[1:] or seconds)
        peak = peak_resident_bytes() / 1e9
        pixels = 16 * width * height
        print(f"| {width}x{height} -> {4 * width}x{4 * height} | {steps} | {median:.2f} | ", end="")
        print(f"{median / pixels * 1e6:.2f} | {peak:.2f} GB |", flush=True)


if __name__ == "__main__":
    main()
