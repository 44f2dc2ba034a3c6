"""Where the tensors live."""

from __future__ import annotations

from ..errors import InputError


def pick_device(name: str) -> str:
    """Return the device to use, "cpu", "cuda" or "mps"; "auto" takes CUDA where there is one, else the CPU.

    Raises:
        InputError: an unknown device, or one that this machine does not have.
    """
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return "cuda" if available["cuda"] else "cpu"
    if name not in available:
        raise InputError(f"Unknown device '{name}'; choose one of auto, {', '.join(available)}.")
    if not available[name]:
        raise InputError(f"Device '{name}' is not available on this machine; choose auto or cpu.")
    return name
