"""Grey values to one scale with torch, the same mapping that the registration applies to images with SimpleITK."""

from __future__ import annotations

import torch

CT_WINDOW_HU = (-200.0, 300.0)
CT_RANGE_HU = (-700.0, 800.0)
CT_AIR_HU = -1000.0
CT_PADDING_HU = -1100.0
MR_PERCENTILES = (0.5, 99.5)


def normalize_ct(hu: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """HU (1, 1, D, H, W), the soft-tissue window as 0 to 1, going on to -1 and 2, and the mask of what was measured."""
    measured = hu >= CT_PADDING_HU
    low, high = CT_WINDOW_HU
    full = torch.where(measured, hu, torch.full_like(hu, CT_AIR_HU)).clamp(*CT_RANGE_HU)
    return (full - low) / (high - low), measured.to(hu.dtype)


def normalize_mr(signal: torch.Tensor) -> torch.Tensor:
    """MR (1, 1, D, H, W) between its robust percentiles."""
    flat = signal.flatten().float()
    flat = flat[:: max(1, flat.numel() // 1_000_000)]  # torch.quantile takes at most 16 million values, and is slow
    low, high = torch.quantile(flat, torch.tensor([p / 100 for p in MR_PERCENTILES], device=flat.device))
    if bool(high <= low):
        low, high = flat.min(), flat.max()
    return ((signal - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
