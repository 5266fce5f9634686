"""What this machine does faster without changing a result: probed once a process, and written into the provenance."""

from __future__ import annotations

import ctypes
import os
import time
from functools import cache

import torch

from suite.memory import count_anew, peak_megabytes

PROBE_SIZE, LARGEST_ERROR = 256, 1e-5
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's names for them, from malloc.h
LARGEST_KEPT = 1 << 30  # bytes
REFERENCE_STEPS, REFERENCE_SECONDS = 200, 0.009  # of `slowness`: what one idle core took


def use_fast_products(wanted: bool) -> None:
    """Let PyTorch take oneDNN's float32 kernels, where they are float32, or its own.

    Not wanted where shapes change from step to step: oneDNN makes a kernel for each.
    """
    torch.set_float32_matmul_precision(fastest_precision() if wanted else "highest")


@cache
def fastest_precision() -> str:
    """Return the setting of `torch.set_float32_matmul_precision` that is fastest and float32 all the same.

    "medium" routes float32 products to oneDNN. On processors without bfloat16 units it still computes in float32, and up to
    twice as fast as the default on some; elsewhere it would round to bfloat16. So one product is held against float64,
    and the setting is kept only where the relative error is that of float32.
    """
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(PROBE_SIZE, PROBE_SIZE, generator=rng) for _ in range(2))
    exact = a.double() @ b.double()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    error = float((a @ b - exact).norm() / exact.norm())
    torch.set_float32_matmul_precision(before)
    return "medium" if error < LARGEST_ERROR else "highest"


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep large freed blocks for the next step instead of handing them back; return whether it listened.

    A training step frees and asks for the same blocks again; by default each of them is mapped anew, page by page.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        return all(libc.mallopt(option, LARGEST_KEPT) == 1 for option in (MMAP_THRESHOLD, TRIM_THRESHOLD))
    except (OSError, AttributeError):  # another C library has its own ways
        return False


class PeakMemory:
    """The largest memory from now on: of this process (`suite.memory`), or of tensors on `device`, where that is CUDA.

    A process keeps one peak: of two counted at a time, the first is as large as what follows the second.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.counted = device.type == "cuda" or count_anew()

    def megabytes(self) -> float | None:
        """Return it in MiB; None where the system does not count anew."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        return peak_megabytes() if self.counted else None


def slowness() -> float:
    """Return how many times as long as the machine that estimates are made for this one takes, as busy as it is now."""
    weight, x, start = torch.ones(64, 64) / 64, torch.ones(512, 64), time.perf_counter()
    for _ in range(REFERENCE_STEPS):
        x = (x @ weight).relu()
    return (time.perf_counter() - start) / REFERENCE_SECONDS


def settings() -> dict[str, str]:
    """Return what is in force in this process, for the provenance of what it computes."""
    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "kept_memory": "yes" if keep_freed_memory.cache_info().currsize and keep_freed_memory() else "no",
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", ""),
    }
