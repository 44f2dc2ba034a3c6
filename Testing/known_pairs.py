"""Images with structure everywhere, smooth warps, and how far a displacement is off."""

from __future__ import annotations

import torch

INNER = (..., slice(5, -5), slice(5, -5), slice(5, -5))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def structures(shape: tuple[int, int, int], seed: int = 0) -> torch.Tensor:
    """A smooth image (1, 1, D, H, W) with structure everywhere."""
    coarse = random(1, 1, *(n // 5 for n in shape), seed=seed)
    return torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)


def smooth_warp(shape: tuple[int, int, int], amplitude: float) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.linspace(0, torch.pi, n) for n in shape], indexing="ij")
    bump = torch.sin(axes[0]) * torch.sin(axes[1]) * torch.sin(axes[2])
    return amplitude * torch.stack([bump, -0.5 * bump, 0.8 * bump])[None]


def error(found: torch.Tensor, truth: torch.Tensor, inner: tuple = INNER) -> float:
    return float(torch.linalg.vector_norm(found - truth, dim=1)[inner].mean())
