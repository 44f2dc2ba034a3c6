"""The choices of a parameter set: what can be chosen with what, and what the registration will take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slicer.i18n import tr as _

from ..errors import InputError
from . import checks
from .choices import Model, Preset


def update(
    ui: Any, parameters: Any, logic: Any, setup: Any, presets: Sequence[Preset], *, missing: str, running: bool
) -> None:
    """Enable what can be done, say what is missing, and tell what it will take.

    Args:
        parameters: the parameter node that is shown.
        setup: the `SetupSection`.
        missing: what keeps a registration from being started; empty if nothing does.
        running: whether one is under way.
    """
    ui.registerButton.enabled = running or not missing
    ui.registerButton.toolTip = (_("Stop; the scene stays as it is") if running else
                                 missing or _("Bring the moving volume onto the fixed one"))  # fmt: skip
    ui.missingLabel.text = "" if running else missing
    ui.missingLabel.visible = bool(missing) and not running
    ui.queueButton.enabled = not missing
    ui.tryButton.enabled = not running and setup.torch_version is not None
    ui.swapButton.enabled = parameters.fixedVolume is not None or parameters.movingVolume is not None
    ui.inverseTransformSelector.enabled = parameters.createInverse
    ui.warpedVolumeSelector.enabled = parameters.createWarped
    ui.weightsPathEdit.enabled = parameters.model is not Model.NONE
    ui.presetComboBox.currentIndex = next(
        (number for number, preset in enumerate(presets) if preset.matches(parameters)), len(presets)
    )
    note = checks.model_note(parameters, logic.hasNetwork(parameters))
    ui.modelNoteLabel.text = note
    ui.modelNoteLabel.visible = bool(note)
    ui.memoryLabel.text = memory_text(parameters, logic, setup)


def memory_text(parameters: Any, logic: Any, setup: Any) -> str:
    """What the registration will take; empty while that cannot be said."""
    fixed, moving = parameters.fixedVolume, parameters.movingVolume
    if any(node is None or node.GetImageData() is None for node in (fixed, moving)):
        return ""
    try:
        size, spacing = logic.workingGrid(parameters)
    except InputError:  # told when it is registered
        return ""
    voxels = sum(node.GetImageData().GetNumberOfPoints() for node in (fixed, moving))
    device = checks.device_of(parameters, setup.devices)
    return checks.memory_text(size, spacing, voxels, device, setup.free_memory())
