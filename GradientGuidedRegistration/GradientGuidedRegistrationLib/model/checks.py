"""Checks on tensors at the doors of the model: shapes always, values only where asked.

Reading a value back (is anything NaN?) stops a GPU until everything queued before it is done, so nothing here does so
unless its name says «finite».
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InputError


def check_volume(name: str, volume: Tensor, channels: int | None = None) -> None:
    """Raise `InputError` unless `volume` is a non-empty floating-point (B, C, D, H, W); C = `channels` if given."""
    expected = f"(B, {'C' if channels is None else channels}, D, H, W)"
    if not isinstance(volume, Tensor):
        raise InputError(f"{name} must be a torch tensor of shape {expected}, but is a {type(volume).__name__}.")
    shape = tuple(volume.shape)
    if len(shape) != 5:
        raise InputError(f"{name} must have 5 dimensions {expected}, but its shape is {shape}; add the missing ones.")
    if 0 in shape:
        raise InputError(f"{name} is empty: its shape is {shape}.")
    if channels is not None and shape[1] != channels:
        raise InputError(f"{name} must have {channels} channel(s), shape {expected}, but its shape is {shape}.")
    if not volume.is_floating_point():
        raise InputError(f"{name} must hold floating-point values, but holds {volume.dtype}; convert it first.")


def check_displacement(name: str, displacement: Tensor) -> None:
    """Raise `InputError` unless `displacement` is a non-empty floating-point tensor (B, 3, D, H, W)."""
    check_volume(name, displacement, channels=3)


def check_same_grid(first_name: str, first: Tensor, second_name: str, second: Tensor) -> None:
    """Raise `InputError` unless both lie on one grid: equal (D, H, W), and equal B or one of them 1."""
    first_shape, second_shape = tuple(first.shape), tuple(second.shape)
    same_batch = first_shape[0] == second_shape[0] or 1 in (first_shape[0], second_shape[0])
    if first_shape[2:] != second_shape[2:] or not same_batch:
        raise InputError(
            f"{first_name} and {second_name} must lie on the same grid, "
            f"but their shapes are {first_shape} and {second_shape}."
        )
    if first.device != second.device:
        raise InputError(
            f"{first_name} is on {first.device} and {second_name} on {second.device}; move them to the same device."
        )


def check_finite(name: str, volume: Tensor) -> None:
    """Raise `InputError` if `volume` holds NaN or infinity. Waits for the GPU, so not for use in a training step."""
    # The sum is finite only if every value is, and needs no second volume; it may overflow, so look closer before
    # refusing.
    if not torch.isfinite(volume.sum(dtype=torch.float64 if volume.device.type == "cpu" else None)):
        bad = int((~torch.isfinite(volume)).sum())
        if bad:
            raise InputError(
                f"{name} holds {bad} values that are NaN or infinite (shape {tuple(volume.shape)}); replace them."
            )


def triple(name: str, value: float | Sequence[float] | None) -> tuple[float, float, float] | None:
    """Return `value` as three positive numbers in array order (D, H, W); a single number stands for all three."""
    if value is None:
        return None
    values = (value,) * 3 if isinstance(value, (int, float)) else tuple(float(item) for item in value)
    if len(values) != 3 or not all(0 < item < float("inf") for item in values):
        raise InputError(f"{name} must be one or three positive numbers in array order (D, H, W), but is {value!r}.")
    return values
