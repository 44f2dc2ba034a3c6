"""Many registrations in one process: memory stays where it was."""

from __future__ import annotations

import os
import sys
from pathlib import Path

GROWTH = 1.05


def resident_mb() -> float:
    """The memory this process holds now."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    from GradientGuidedRegistrationLib.job import peak_memory_mb

    return peak_memory_mb() or 0.0


def growth(count: int, warm_up: int, voxels: int = 40, say: bool = False) -> float:
    """Register one pair `count` times; returns the memory at the end over that after the first `warm_up`."""
    import gc

    from GradientGuidedRegistrationLib.registration import Settings, register
    from GradientGuidedRegistrationLib.training.phantom import phantom_images

    images = phantom_images(4, shape=(voxels,) * 3, spacing=160.0 / voxels)
    settled: list[float] = []
    for number in range(1, count + 1):
        result = register(images["fixed"], images["moving"], Settings(refine=3, seed=number, inverse=True))
        result.warp(images["moving"], images["fixed"])
        del result
        gc.collect()
        if number >= warm_up:
            settled.append(resident_mb())
        if say and number % 20 == 0:
            print(f"{number} registrations, {resident_mb():.0f} MB", flush=True)
    tail = max(1, min(5, len(settled) // 2))
    return (sum(settled[-tail:]) / tail) / (sum(settled[:tail]) / tail)
