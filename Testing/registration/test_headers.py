"""Headers with the voxels in a file beside them, and files that are not what their name says."""

from __future__ import annotations

import gzip
import os
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration import read_image, read_labels, read_transform


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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("read", [read_image, read_labels, read_transform])
@pytest.mark.parametrize("name", [b"\xff.nrrd", b"\xff.tfm", b"\xff"], ids=["image", "transform", "folder"])
def test_names_that_are_no_text_are_told(tmp_path: Path, read: Any, name: bytes) -> None:
    """SimpleITK would end the process."""
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"") if path.suffix else path.mkdir()
    with pytest.raises(InputError, match=r"udcff.* has a name that is not UTF-8 text; rename it") as error:
        read(path)
    str(error.value).encode("utf-8")


@pytest.fixture
def saved(scene: Any, tmp_path: Path) -> Callable[[bool], Path]:
    """`saved(overlap)`: two boxes of 3 x 20 x 20 voxels in a segmentation, as Slicer's own writer saves it."""
    import slicer

    from GradientGuidedRegistrationLib.mrml.geometry import vtk_from_image, vtk_ijk_to_ras

    def save(overlap: bool) -> Path:
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
        for number, first in enumerate((4, 6 if overlap else 12)):
            mask = np.zeros((20, 20, 20), np.uint8)
            mask[first : first + 3] = 1
            image = sitk.GetImageFromArray(mask)
            data = vtk_from_image(image, slicer.vtkOrientedImageData())
            data.SetGeometryFromImageToWorldMatrix(vtk_ijk_to_ras(image))
            segment = slicer.vtkSegment()
            segment.SetName(f"organ {number}")
            segment.AddRepresentation("Binary labelmap", data)
            node.GetSegmentation().AddSegment(segment, f"organ_{number}")
        node.GetSegmentation().CollapseBinaryLabelmaps(False)
        storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
        storage.SetFileName(str(tmp_path / "organs.seg.nrrd"))
        assert storage.WriteData(node)
        return tmp_path / "organs.seg.nrrd"

    return save


def test_a_segmentation_that_slicer_saved_is_read(saved: Callable[[bool], Path]) -> None:
    path = saved(False)
    assert max(map(len, path.read_bytes().partition(b"\n\n")[0].splitlines())) > 2000
    assert np.bincount(sitk.GetArrayFromImage(read_labels(path)).ravel())[1:].tolist() == [1200, 1200]


def test_layers_that_slicer_saved_are_told(saved: Callable[[bool], Path]) -> None:
    with pytest.raises(InputError, match="has 2 layers, for segments that overlap"):
        read_labels(saved(True))


RAW = sitk.GetImageFromArray((100 + np.arange(16**3) % 100).astype(np.uint8).reshape(16, 16, 16))  # no line ends


@pytest.fixture
def nrrd(tmp_path: Path) -> Callable[..., Path]:
    """`nrrd(old, new)`: a file with raw voxels, `old` in its header replaced by `new`."""

    def write(old: bytes, new: bytes) -> Path:
        path = tmp_path / "a.nrrd"
        sitk.WriteImage(RAW, str(path), useCompression=False)
        header, end, voxels = path.read_bytes().partition(b"\n\n")
        assert old in header
        path.write_bytes((header + end).replace(old, new) + voxels)
        return path

    return write


@pytest.mark.parametrize("line", [b"key:=%b", b"a: key:=%b", b"# %b", b"content: %b"])
def test_words_of_a_nrrd_header_may_be_long(nrrd: Callable[..., Path], line: bytes) -> None:
    if line.startswith(b"a: "):  # no key: a field of this name is not known
        with pytest.raises(InputError, match="no NRRD header"):
            read_image(nrrd(b"encoding:", line % (b"x" * 5000) + b"\nencoding:"))
    else:
        image = read_image(nrrd(b"encoding:", line % (b"x" * 200_000) + b"\nencoding:"))
        assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(RAW))


@pytest.mark.parametrize("old", [b"encoding: ", b"kinds: ", b"type: ", b"space: ", b"space directions: ("])
def test_fields_of_a_nrrd_header_may_not(nrrd: Callable[..., Path], old: bytes) -> None:
    """ITK ends in a crash on each of them."""
    with pytest.raises(InputError, match="no NRRD header"):
        read_image(nrrd(old, old + b"x" * 5000))


def test_line_ends_of_windows_in_a_nrrd_header(nrrd: Callable[..., Path]) -> None:
    image = read_image(nrrd(b"\n", b"\r\n"))
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(RAW))
    with pytest.raises(InputError, match="refers to another file"):
        read_image(nrrd(b"\n", b"\r\ndata file: b.raw\r\n"))


@pytest.mark.parametrize("read", [read_image, read_labels])
@pytest.mark.parametrize("last", [False, True])
def test_four_dimensions_of_which_one_is_a_list_of_one(nrrd: Callable[..., Path], last: bool, read: Any) -> None:
    path = nrrd(b"dimension: 3", b"dimension: 4")
    content = path.read_bytes()
    for field, what in ((b"sizes:", b"1"), (b"kinds:", b"list"), (b"space directions:", b"none")):
        content = re.sub(field + b"(.*)", field + (rb"\1 " + what if last else b" " + what + rb"\1"), content)
    path.write_bytes(content)
    image = read(path)
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(RAW))
    assert image.GetSpacing() == (1, 1, 1)


def test_a_metaimage_that_says_local_in_other_letters(tmp_path: Path) -> None:
    sitk.WriteImage(RAW, str(tmp_path / "a.mha"), useCompression=False)
    content = (tmp_path / "a.mha").read_bytes()
    for word in (b"Local", b"local"):
        (tmp_path / "a.mha").write_bytes(content.replace(b"ElementDataFile = LOCAL", b"ElementDataFile = " + word))
        assert np.array_equal(sitk.GetArrayFromImage(read_image(tmp_path / "a.mha")), sitk.GetArrayFromImage(RAW))
    (tmp_path / "a.mha").write_bytes(content.replace(b"= LOCAL", b"= localhost"))
    with pytest.raises(InputError, match="refers to another file"):
        read_image(tmp_path / "a.mha")


def test_an_ending_in_capitals_that_itk_does_not_know(tmp_path: Path) -> None:
    sitk.WriteImage(RAW, str(tmp_path / "a.mha"))
    (tmp_path / "a.mha").rename(tmp_path / "A.MHA")
    with pytest.raises(InputError, match=r"A\.MHA is not known by its ending in capitals; rename it to A\.mha"):
        read_image(tmp_path / "A.MHA")


def test_nifti_2_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = bytearray(544)
    struct.pack_into("<i8s2h8q", header, 0, 540, b"n+2\0\r\n\x1a\n", 2, 8, 3, 16, 16, 16, 1, 1, 1, 1)
    struct.pack_into("<8dq", header, 104, 1, 1, 1, 1, 0, 0, 0, 0, 544)
    for name, content in (("a.nii", bytes(header) + bytes(16**3)), ("a.nii.gz", gzip.compress(header + bytes(16**3)))):
        (tmp_path / name).write_bytes(content)
        monkeypatch.setattr(sitk.ImageFileReader, "GetImageIOFromFileName", lambda *_: "")  # as by most versions of ITK
        with pytest.raises(InputError, match="is NIfTI-2, which is not read; save it as NIfTI-1"):
            read_image(tmp_path / name)
