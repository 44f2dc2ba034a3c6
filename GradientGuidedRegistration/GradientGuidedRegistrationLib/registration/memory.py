"""How much memory a registration takes, how much there is, and which working grid fits."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

from ..errors import InputError
from .grid import Grid

# Measured on a CPU with the packaged network, with two images of as many voxels as the grid: 0.91 GB at 0.68 million
# voxels, 1.57 GB at 2.1 million; without a network 0.76 and 1.34 GB. The estimate is a little above that. For GPUs it
# is reckoned from the tensors of the network and of the refinement, not measured.
_BASE = {"cpu": 0.55e9, "cuda": 0.4e9, "mps": 0.4e9}  # the libraries and the context of the device
_PER_VOXEL = {"cpu": 500.0, "cuda": 900.0, "mps": 900.0}  # bytes a voxel of the working grid
_PER_IMAGE_VOXEL = 24.0  # bytes a voxel of the two images, always in main memory
_SHARE = 0.9  # of what is free
_COARSEST = 4.0  # a working grid coarser than this many times the wanted spacing is no registration any more


@dataclass(frozen=True)
class Plan:
    """What a registration is to run on.

    Attributes:
        device: "cpu", "cuda" or "mps".
        spacing: working spacing in mm.
        note: a sentence for the user where this is not what was asked for, else empty.
    """

    device: str
    spacing: float
    note: str = ""


def estimated_bytes(voxels: int, device: str = "cpu", image_voxels: int = 0) -> int:
    """Return the peak memory in bytes of a registration on a working grid of so many voxels.

    Args:
        voxels: of the working grid.
        device: "cpu": main memory of the process; otherwise memory of that device.
        image_voxels: of both images together; they count in main memory only.
    """
    images = _PER_IMAGE_VOXEL * image_voxels if device == "cpu" else 0.0
    return int(_BASE[device] + _PER_VOXEL[device] * voxels + images)


def plan(voxels: int, spacing: float, device: str, free: dict[str, int | None], image_voxels: int = 0) -> Plan:
    """Return where to register, so that it fits: on the device asked for, else on the CPU, else on a coarser grid.

    Args:
        voxels, spacing: the working grid that is wanted; spacing in mm.
        device: the device that is wanted.
        free: free bytes by device; None or a missing device means unknown, and unknown counts as enough.
        image_voxels: of both images together.
    """
    if _fits(voxels, device, free, image_voxels):
        return Plan(device, spacing)
    if device != "cpu" and _fits(voxels, "cpu", free, image_voxels):
        needed = estimated_bytes(voxels, device)
        note = f"The GPU has {_gigabytes(free[device])} free and {_gigabytes(needed)} are needed: using the CPU."
        return Plan("cpu", spacing, note)
    factor = 1.1
    while factor <= _COARSEST:
        if _fits(int(voxels / factor**3), device, free, image_voxels):
            needed = estimated_bytes(voxels, device, image_voxels)
            note = (
                f"{_gigabytes(free[device])} of memory are free and {_gigabytes(needed)} are needed: using a coarser "
                f"working grid of {spacing * factor:.1f} mm."
            )
            return Plan(device, spacing * factor, note)
        factor *= 1.1
    return Plan(device, spacing, "There may be too little memory for this; close other programs if it fails.")


def check_memory(grid: Grid) -> None:
    """Raise InputError where what is worked on, on this grid, takes more main memory than there is left.

    Otherwise the system may end the process without a word.
    """
    free, needed = available_memory(), int(_PER_VOXEL["cpu"] * prod(grid.size))
    if free is None or needed <= free:
        return
    spacing = grid.spacing[0]
    fitting = ceil(10 * spacing * (needed / (_SHARE * free)) ** (1 / 3)) / 10
    raise InputError(
        f"A working spacing of {spacing:g} mm needs about {_gigabytes(needed)} of memory, and {_gigabytes(free)} are "
        f"free; give {fitting:g} mm or more."
    )


def available_memory() -> int | None:
    """Return the main memory in bytes that a new process may take, or None where that is not known."""
    if sys.platform == "win32":
        return _available_on_windows()
    if sys.platform == "darwin":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2  # macOS compresses and swaps early
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min(found + _container_room()) if found else None


def _container_room() -> list[int]:
    """What is left of the limit of a Linux container, if there is one."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return []
    return [] if limit == "max" else [max(int(limit) - used, 0)]


def _available_on_windows() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in ("total", "available", "total_page", "available_page", "total_virtual", "virtual", "extended")
        ]

    status = Status(length=ctypes.sizeof(Status))
    found = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.available) if found else None


def _fits(voxels: int, device: str, free: dict[str, int | None], image_voxels: int) -> bool:
    room = free.get(device)
    return room is None or estimated_bytes(voxels, device, image_voxels) <= _SHARE * room


def _gigabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e9:.1f} GB"
