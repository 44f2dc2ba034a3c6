"""SyN with mutual information through ANTsPy, where the package `antspyx` is installed."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path

import SimpleITK as sitk

from .methods import Unavailable


def syn_field(fixed: sitk.Image, moving: sitk.Image) -> sitk.Image:
    """The displacement field of SyN(MI), LPS mm, fixed to moving points, on the grid of `fixed`.

    The CT is cut to the window that the networks see, too, because HU of air and padding would rule its histogram.

    Raises:
        Unavailable: `antspyx` is not installed.
    """
    try:
        ants = import_module("ants")  # by name: an optional package, not one of this project's
    except ImportError:
        raise Unavailable("the package antspyx is not installed (pip install antspyx)") from None
    from ...registration.intensity import normalize

    with tempfile.TemporaryDirectory() as folder:
        images = []
        for name, image in (("fixed", fixed), ("moving", moving)):
            path = str(Path(folder) / f"{name}.nii.gz")
            sitk.WriteImage(normalize(image).windowed, path)
            images.append(ants.image_read(path))
        result = ants.registration(
            *images, type_of_transform="SyN", syn_metric="mattes", outprefix=str(Path(folder) / "syn"), random_seed=1
        )
        composed = ants.apply_transforms(
            *images, transformlist=result["fwdtransforms"], compose=str(Path(folder) / "composed")
        )
        field = sitk.ReadImage(str(composed), sitk.sitkVectorFloat64)
    on_fixed = sitk.GetImageFromArray(sitk.GetArrayFromImage(field), isVector=True)
    on_fixed.CopyInformation(fixed)
    return on_fixed
