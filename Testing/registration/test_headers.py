"""Headers with the voxels in a file beside them, and files that are not what their name says."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration import read_image


@pytest.fixture(params=[".mhd", ".nhdr"])
def header(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An image of two million voxels, whose header has a few hundred bytes."""
    path = tmp_path / f"ein Bild{request.param}"
    values = (np.arange(128**3) % 30_000).astype(np.int16).reshape(128, 128, 128)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), useCompression=False)
    return path


def data_file(header: Path) -> Path:
    (data,) = set(header.parent.iterdir()) - {header}
    return data


def test_voxels_beside_the_header_are_read(header: Path) -> None:
    values = sitk.GetArrayFromImage(read_image(header))
    assert values.shape == (128, 128, 128) and values[5, 6, 7] == (5 * 128**2 + 6 * 128 + 7) % 30_000


def test_voxels_that_are_missing_are_told(header: Path) -> None:
    data = data_file(header)
    data.unlink()
    with pytest.raises(InputError, match=f"refers to '{data.name}'.*no file beside it"):
        read_image(header)


def test_voxels_that_are_cut_off_are_told(header: Path) -> None:
    data = data_file(header)
    data.write_bytes(data.read_bytes()[:4_000_000])
    with pytest.raises(InputError, match="cannot be read"):
        read_image(header)
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be in a file of its size"):
        read_image(header)


def test_a_compressed_file_with_the_wrong_name(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.arange(17**3, dtype=np.float32).reshape(17, 17, 17))
    sitk.WriteImage(image, str(tmp_path / "a.nii"))
    (tmp_path / "b.nii").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    with pytest.raises(InputError, match=r"b\.nii is compressed; rename it to b\.nii\.gz"):
        read_image(tmp_path / "b.nii")
