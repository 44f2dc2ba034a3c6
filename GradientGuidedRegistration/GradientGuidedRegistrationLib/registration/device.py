"""Where the tensors live."""

from __future__ import annotations

from ..errors import InputError


def pick_device(name: str) -> str:
    """Return "cpu", "cuda" or "mps" for a wish; "auto" takes a CUDA device where there is one.

    Raises:
        InputError: when the device that is asked for is not there.
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
