"""A case on disk: what every method reads, in whichever environment it runs, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

ON_ONE_GRID = ("common", "other", "sliding")
"""Groups whose images lie on one grid and need no linear alignment."""


@dataclass(frozen=True)
class CaseFolder:
    """Files of a case.

    Attributes:
        path: holds fixed.mha and moving.mha (scanner units), clipped.mha (the moving image for the peers), grid.mha
            (the isotropic grid over the fixed field of view on which every method gives its field), valid.mha (where
            the fixed image is measured), truth.npz (points and their true targets, LPS mm), labels of phantoms, and a
            folder for each method. A case whose moving image was spoiled has spoiling.h5, the point transform that did
            it, and a folder for the pair as scanned.
    """

    path: Path

    def image(self, name: str) -> sitk.Image:
        return sitk.ReadImage(str(self.file(name)))

    def file(self, name: str) -> Path:
        return self.path / f"{name}.mha"

    def has(self, name: str) -> bool:
        return self.file(name).is_file()

    def write(self, name: str, image: sitk.Image) -> None:
        sitk.WriteImage(image, str(self.file(name)), useCompression=True)

    def method(self, name: str) -> Path:
        """Folder of a method: field.mha, run.json, log.txt."""
        return self.path / name

    @property
    def scanned(self) -> CaseFolder:
        """The pair before its moving image was spoiled."""
        return CaseFolder(self.path / "scanned")

    @property
    def spoiling(self) -> Path:
        return self.path / "spoiling.h5"

    def linear(self) -> sitk.Transform:
        """The linear alignment of this extension, fixed to moving points; the identity for images on one grid."""
        if self.path.parent.name in ON_ONE_GRID:
            return sitk.Transform(3, sitk.sitkIdentity)
        return sitk.ReadTransform(str(self.method("linear") / "linear.tfm"))


def field_of(transform: sitk.Transform, grid: sitk.Image) -> sitk.Image:
    """The displacements of a transform at the voxels of `grid`, float32, LPS mm."""
    return sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat32, grid.GetSize(), grid.GetOrigin(), grid.GetSpacing(), grid.GetDirection()
    )
