"""Transforms as other programs write them."""

from __future__ import annotations

import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration import files
from GradientGuidedRegistrationLib.registration.fields import continued

_MATRIX = "0.9 0.1 0 -0.1 0.9 0 0 0 1.1 4 5 6"


def itk_snap(path, precision="double") -> sitk.Transform:
    """Write a file as ITK-SNAP and c3d write it; return the affine transform that is meant."""
    path.write_text(
        f"#Insight Transform File V1.0\n#Transform 0\nTransform: MatrixOffsetTransformBase_{precision}_3_3\n"
        f"Parameters: {_MATRIX}\nFixedParameters: 1 2 3\n"
    )
    meant = sitk.AffineTransform(3)
    meant.SetCenter((1.0, 2.0, 3.0))
    meant.SetParameters([float(word) for word in _MATRIX.split()])
    return meant


@pytest.mark.parametrize("precision", ["double", "float"])
def test_affine_transforms_of_itk_snap_are_read(tmp_path, precision):
    """SimpleITK gives them for a composite whose only part is itself."""
    meant = itk_snap(tmp_path / "t.txt", precision)
    read = continued(files.read_transform(tmp_path / "t.txt"))
    for point in ((0.0, 0.0, 0.0), (10.0, -20.0, 30.0)):
        assert read.TransformPoint(point) == pytest.approx(meant.TransformPoint(point), abs=1e-5)


def test_affine_transforms_of_itk_snap_beside_a_field_are_read(tmp_path):
    itk_snap(tmp_path / "t.txt")
    field = sitk.DisplacementFieldTransform(sitk.Image((8, 8, 8), sitk.sitkVectorFloat64, 3))
    whole = sitk.CompositeTransform([files.read_transform(tmp_path / "t.txt"), field])
    whole.FlattenTransform()
    sitk.WriteTransform(whole, str(tmp_path / "t.h5"))
    read = continued(files.read_transform(tmp_path / "t.h5"))
    assert read.TransformPoint((4.0, 4.0, 4.0)) == pytest.approx(whole.TransformPoint((4.0, 4.0, 4.0)))


@pytest.mark.parametrize("kind", ["ThinPlateSplineKernelTransform", "Rigid3DTransform"])
def test_kinds_of_transforms_that_are_not_known_are_named(tmp_path, kind):
    itk_snap(tmp_path / "t.tfm")
    text = (tmp_path / "t.tfm").read_text().replace("MatrixOffsetTransformBase", kind)
    (tmp_path / "t.tfm").write_text(text)
    with pytest.raises(InputError, match=f"is a {kind}, a kind that is not known; save it as an affine transform"):
        files.read_transform(tmp_path / "t.tfm")
