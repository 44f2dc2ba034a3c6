"""What is missing before the button may be pressed, and what the registration will take. Reads, changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ..registration import memory
from ..registration.settings import MINIMUM_SIZE
from .choices import Model, Quality


def missing(parameters: Any, has_torch: bool, has_network: bool) -> str:
    """What keeps a registration from being started, as a sentence; empty if nothing does.

    Args:
        parameters: the parameter node.
        has_torch: whether PyTorch is installed.
        has_network: whether there are weights for the model that is chosen.
    """
    fixed, moving = parameters.fixedVolume, parameters.movingVolume
    weights = parameters.weights
    rules = (
        (fixed is None and moving is None, _("Choose the fixed volume (MR) and the moving volume (CT).")),
        (fixed is None, _("Choose the fixed volume (MR).")),
        (moving is None, _("Choose the moving volume (CT).")),
        (fixed is moving, _("Fixed and moving are the same volume; choose two different ones.")),
        (fixed is not None and fixed.GetImageData() is None, _("The fixed volume has no voxels; choose another.")),
        (moving is not None and moving.GetImageData() is None, _("The moving volume has no voxels; choose another.")),
        (_too_small(fixed), _("The fixed volume has fewer than {count} voxels along an axis; choose another.")
         .format(count=MINIMUM_SIZE)),
        (_too_small(moving), _("The moving volume has fewer than {count} voxels along an axis; choose another.")
         .format(count=MINIMUM_SIZE)),
        (not has_torch, _("PyTorch is not installed; see Setup.")),
        (parameters.model is not Model.NONE and bool(weights) and not Path(weights).is_file(),
         _("The weights file does not exist; choose another or none.")),
        (parameters.quality is Quality.OFF and parameters.model is not Model.NONE and not has_network,
         _("There is no network to use without refinement; choose a refinement or a weights file.")),
        (parameters.createWarped and parameters.warpedVolume is not None and parameters.warpedVolume in (fixed, moving),
         _("The warped volume would overwrite an input; choose another or «Create new».")),
        (parameters.transform is not None and parameters.transform is parameters.initialTransform,
         _("The result would overwrite the initial transform; choose another or «Create new».")),
        (parameters.createInverse and parameters.inverseTransform is not None
         and parameters.inverseTransform is parameters.initialTransform,
         _("The inverse would overwrite the initial transform; choose another or «Create new».")),
        (parameters.createInverse and parameters.transform is not None
         and parameters.transform is parameters.inverseTransform,
         _("The transform and its inverse need two different nodes.")),
    )  # fmt: skip
    return next((sentence for broken, sentence in rules if broken), "")


def _too_small(node: Any) -> bool:
    data = node.GetImageData() if node is not None else None
    return data is not None and min(data.GetDimensions()) < MINIMUM_SIZE


def model_note(parameters: Any, has_network: bool) -> str:
    """What is to be known about the chosen model; empty if nothing."""
    if parameters.model is Model.NONE or has_network or parameters.weights:
        return ""
    return _("No weights are packaged for this model: the registration starts from the linear alignment.")


def device_of(parameters: Any, devices: dict[str, Any]) -> str:
    """The device that the choice means among the devices that were found."""
    chosen = parameters.device.value
    return chosen if chosen != "auto" else "cuda" if "cuda" in devices else "cpu"


def memory_text(size: tuple[int, int, int], spacing: float, image_voxels: int, device: str,
                free: dict[str, int | None]) -> str:  # fmt: skip
    """What a registration on a working grid takes, and whether that is there.

    Args:
        size, spacing: of the working grid in voxels and mm.
        image_voxels: of both images together.
        device: "cpu", "cuda" or "mps".
        free: free bytes by device, as far as known.
    """
    voxels = size[0] * size[1] * size[2]
    plan = memory.plan(voxels, spacing, device, free, image_voxels)
    needed = memory.estimated_bytes(voxels, device, image_voxels) / 1e9
    text = _("Working grid {size} at {spacing:.1f} mm: about {needed:.1f} GB of memory on the {device}.").format(
        size=" × ".join(map(str, size)), spacing=spacing, needed=needed, device="CPU" if device == "cpu" else "GPU"
    )
    return text + (" " + plan.note if plan.note else "")
