"""A folder of DICOM slices is read if it is one even stack, and refused by what is wrong with it otherwise."""

from __future__ import annotations

import os
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration.dicom import read_series
from GradientGuidedRegistrationLib.registration.files import read_image

SERIES = "1.2.826.0.1.3680043.2.1125.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_slice(
    folder: Path, name: str, position: tuple[float, ...], orientation=AXIAL, size=(20, 18), series=SERIES,
    spacing=(0.8, 0.8), slope="1",
) -> None:  # fmt: skip
    values = np.random.default_rng(0).integers(-100, 100, size=size[::-1]).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    tags = {"0008|0060": "CT", "0010|0010": "SECRET^NAME", "0008|103e": "SECRET PROTOCOL", "0020|000e": series,
            "0020|000d": "1.2.3.4", "0020|0037": "\\".join(f"{x:.6f}" for x in orientation)}  # fmt: skip
    tags["0020|0032"] = "\\".join(f"{x:.3f}" for x in position)
    tags |= {"0028|1052": "0", "0028|1053": "1"}
    for key, value in tags.items():
        image.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(folder / name))
    writer.Execute(image)
    content, tag = (folder / name).read_bytes(), b"\x28\x00\x53\x10"
    assert content.count(tag + b"\2\0\0\0" + b"1 ") == 1
    new = tag + struct.pack("<I", len(slope) + len(slope) % 2) + slope.encode() + b" " * (len(slope) % 2)
    (folder / name).write_bytes(content.replace(tag + b"\2\0\0\0" + b"1 ", new))


def stack(folder: Path, places: list[float], shear: float = 0.0) -> None:
    for k, z in enumerate(places):
        write_slice(folder, f"{k:03d}.dcm", (-8.0, -7.0 + shear * z, z))


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(InputError) as error:
        read_image(folder, "fixed image")
    told = str(error.value)
    assert all(word in told for word in ("fixed image", str(folder), *words)), told
    assert "SECRET" not in told and "\n" not in told


def many_slices(path: Path) -> None:
    """One file of 17 slices, as ITK writes it: it does not say where each of them lies."""
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 200, size=(17, 18, 20)).astype(np.uint8))
    image.SetMetaData("0010|0010", "SECRET^NAME")
    sitk.WriteImage(image, str(path))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_slices_whose_names_are_no_text(tmp_path):
    for k in range(17):
        write_slice(tmp_path, f"{k:03d}.dcm", (-8.0, -7.0, float(k)))
    (tmp_path / "003.dcm").rename(tmp_path / os.fsdecode(b"\xff.dcm"))
    refused(tmp_path, "slice", "\\udcff.dcm", "not UTF-8 text; rename it")


def test_slices_with_a_rescaling_each_are_not_cut_to_whole_numbers(tmp_path):
    slopes = ["1", *(f"0.{k}" for k in range(10, 26))]
    for k, slope in enumerate(slopes):
        write_slice(tmp_path, f"{k:03d}.dcm", (-8.0, -7.0, float(k)), slope=slope)
    values = sitk.GetArrayFromImage(read_image(tmp_path))
    assert np.allclose(values, values[:1] * np.array([float(slope) for slope in slopes])[:, None, None], atol=1e-4)


def test_a_series_is_not_read_in_more_memory_than_it_needs(tmp_path):
    for folder, slope, kind in (("ct", "1", sitk.sitkInt16), ("mr", "0.5", sitk.sitkFloat32)):
        (tmp_path / folder).mkdir()
        for k in range(17):
            write_slice(tmp_path / folder, f"{k:03d}.dcm", (-8.0, -7.0, float(k)), slope=slope)
        assert read_series(tmp_path / folder, "image").GetPixelID() == kind


@pytest.mark.parametrize("cut", ["000.dcm", "008.dcm", "016.dcm"])
def test_a_file_that_is_cut_off_is_not_passed_over(tmp_path, cut):
    stack(tmp_path, [float(k) for k in range(17)])
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "notes.txt").write_text("a user's")
    (tmp_path / cut).write_bytes((tmp_path / cut).read_bytes()[:-200])
    refused(tmp_path, f"DICOM files that cannot be read ({cut})", "copy them again")
    (tmp_path / cut).unlink()
    if cut != "008.dcm":
        assert read_image(tmp_path).GetSize() == (20, 18, 16)


def test_what_is_no_slice_may_lie_beside_them(tmp_path):
    stack(tmp_path, [float(k) for k in range(17)])
    content = (tmp_path / "008.dcm").read_bytes()[:-200]
    kind = re.search(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1[.0-9]+", content)[0]
    (tmp_path / "report.dcm").write_bytes(content.replace(kind, b"9" * len(kind)))
    assert read_image(tmp_path).GetSize() == (20, 18, 17)
    (tmp_path / "report.dcm").write_bytes(content)
    refused(tmp_path, "(report.dcm)")


def test_a_file_of_many_slices(tmp_path):
    many_slices(tmp_path / "all.dcm")
    refused(tmp_path, "many slices", "all.dcm", "save it as NRRD")
    many_slices(tmp_path / "more.dcm")
    refused(tmp_path, "2 DICOM series")


def test_one_slice(tmp_path):
    write_slice(tmp_path, "a.dcm", (0.0, 0.0, 0.0))
    refused(tmp_path, "one slice only")


def test_a_file_of_a_series_is_no_volume(tmp_path):
    stack(tmp_path, EVEN)
    refused(tmp_path / "003.dcm", "is a DICOM file", "folder")


EVEN = [2.5 * k for k in range(17)]


@pytest.mark.parametrize(
    "places", [EVEN, EVEN[::-1], [round(0.625 * k, 1) for k in range(20)]], ids=["up", "down", "rounded"]
)
def test_an_even_stack_is_read(tmp_path, places):
    stack(tmp_path, places)
    image = read_image(tmp_path)
    assert image.GetSize() == (20, 18, len(places))
    assert image.GetSpacing()[2] == pytest.approx(abs(places[-1] - places[0]) / (len(places) - 1), rel=0.02)


def test_an_oblique_stack_is_read(tmp_path):
    rows, columns = np.array([0.8, 0.6, 0.0]), np.array([0.0, 0.0, -1.0])
    for k in range(16):
        write_slice(tmp_path, f"{k}.dcm", tuple(3.0 * k * np.cross(rows, columns)), (*rows, *columns))
    assert read_image(tmp_path).GetSpacing() == pytest.approx((0.8, 0.8, 3.0), abs=1e-3)


def test_missing_slices(tmp_path):
    stack(tmp_path, EVEN[:6] + EVEN[8:])
    refused(tmp_path, "uneven", "2.50 mm as a rule", "7.50 mm between 005.dcm and 006.dcm at 12.5 mm", "2 slices")


def test_distances_that_grow(tmp_path):
    stack(tmp_path, list(np.cumsum(2 + 0.02 * np.arange(17))))
    refused(tmp_path, "uneven", "DICOM")


def test_a_slice_twice(tmp_path):
    stack(tmp_path, EVEN)
    write_slice(tmp_path, "copy.dcm", (-8.0, -7.0, EVEN[3]))
    refused(tmp_path, "in the place of another", "003.dcm", "copy.dcm", "7.5 mm")


def test_several_times(tmp_path):
    stack(tmp_path, EVEN + EVEN)
    refused(tmp_path, "17 slices in the place of another", "13 more", "times")


def test_all_slices_in_one_place(tmp_path):
    stack(tmp_path, [1.0] * 4)
    refused(tmp_path, "4 slices in the place of another")


def test_a_tilted_gantry(tmp_path):
    stack(tmp_path, EVEN, shear=0.2)
    refused(tmp_path, "sheared", "8.0 mm", "gantry")


def test_mixed_directions(tmp_path):
    stack(tmp_path, EVEN)
    write_slice(tmp_path, "scout.dcm", (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    refused(tmp_path, "several directions", "leave")


def test_mixed_sizes(tmp_path):
    stack(tmp_path, EVEN)
    write_slice(tmp_path, "small.dcm", (-8.0, -7.0, 42.5), size=(10, 9))
    refused(tmp_path, "several sizes", "10 x 9: 1 files, small.dcm")
    write_slice(tmp_path, "small.dcm", (-8.0, -7.0, 42.5), spacing=(0.4, 0.4))
    refused(tmp_path, "several voxel sizes", "0.4 x 0.4 mm")


def test_a_slice_without_a_place(tmp_path):
    stack(tmp_path, EVEN)
    path = tmp_path / "003.dcm"
    path.write_bytes(path.read_bytes().replace(b"\x20\x00\x32\x00", b"\x20\x00\x33\x00"))
    path.rename(tmp_path / "nowhere.dcm")
    refused(tmp_path, "without a position", "nowhere.dcm")


def test_several_series(tmp_path):
    stack(tmp_path, EVEN)
    write_slice(tmp_path, "other.dcm", (0.0, 0.0, 0.0), series="1.2.3.9")
    refused(tmp_path, "2 DICOM series", f"{SERIES} (17 files)", "1.2.3.9 (1 files)", "leave one")
