"""Images are checked on the way in and written whole or not at all on the way out."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.registration import files
from GradientGuidedRegistrationLib.registration.nifti import check_sound


@pytest.fixture
def image() -> sitk.Image:
    values = np.random.default_rng(0).normal(size=(17, 18, 19)).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.7, 0.8, 3.0))
    image.SetOrigin((-5.0, 6.0, 7.0))
    return image


def refused(match: str, read, *arguments) -> None:
    with pytest.raises(InputError, match=match) as error:
        read(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", files.IMAGE_SUFFIXES)
def test_images_survive_the_disk(tmp_path, image, suffix):
    path = tmp_path / f"ein Bild ü{suffix}"
    files.write_image(image, path)
    again = files.read_image(path)
    assert np.array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(image))
    assert np.allclose(again.GetOrigin(), image.GetOrigin(), atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_dicom_folder(tmp_path, image):
    scaled = sitk.Cast(image * 100, sitk.sitkInt16)
    uid = "1.2.826.0.1.3680043.2.1125.1"
    for k in range(scaled.GetDepth()):
        plane = scaled[:, :, k]
        for key, value in {
            "0008|0060": "CT", "0010|0010": "SECRET^NAME", "0020|000e": uid, "0020|000d": uid + ".1",
            "0020|0032": "\\".join(f"{x:.3f}" for x in scaled.TransformIndexToPhysicalPoint((0, 0, k))),
            "0020|0037": "1\\0\\0\\0\\1\\0", "0020|0013": str(k),
        }.items():  # fmt: skip
            plane.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(tmp_path / f"{k:03d}.dcm"))
        writer.Execute(plane)
    again = files.read_image(tmp_path)
    assert again.GetSize() == image.GetSize()
    assert np.allclose(again.GetSpacing(), image.GetSpacing(), atol=1e-3)
    assert not again.GetMetaDataKeys()


def test_missing_file(tmp_path):
    refused("does not exist", files.read_image, tmp_path / "none.nii.gz")


def test_folder_without_dicom(tmp_path):
    refused("no DICOM series", files.read_image, tmp_path)


def test_text_named_as_image(tmp_path):
    path = tmp_path / "text.nii.gz"
    path.write_text("this is no image")
    refused("cannot be read", files.read_image, path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("suffix", files.IMAGE_SUFFIXES)
def test_truncated_files(tmp_path, image, suffix, part):
    path = tmp_path / f"cut{suffix}"
    files.write_image(image, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    refused("cannot be read", files.read_image, path)


@pytest.mark.parametrize("suffix", [".img", ".gipl", ".vtk", ".tif"])
def test_other_types_are_not_read(tmp_path, image, suffix):
    """What ITK makes of a damaged one, nobody checks."""
    sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32), str(tmp_path / f"image{suffix}"))
    refused("no image file that can be read", files.read_image, tmp_path / f"image{suffix}")


def test_a_file_that_is_there_is_not_called_missing(tmp_path, image):
    path = tmp_path / "cut.mha"
    sitk.WriteImage(image, str(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    refused("not completely copied", files.read_image, path)


def test_truncated_data_in_a_sound_gzip(tmp_path, image):
    path = tmp_path / "cut.nii.gz"
    files.write_image(image, path)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[: len(content) // 2]))
    refused("cannot be read", files.read_image, path)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (sitk.Image((20, 20), sitk.sitkFloat32), "2 dimensions"),
        (sitk.Image((20, 20, 20, 3), sitk.sitkFloat32), "4 dimensions"),
        (sitk.Image((20, 20, 20), sitk.sitkVectorUInt8, 3), "one real number"),
        (sitk.Image((20, 20, 20), sitk.sitkComplexFloat32), "one real number"),
    ],
    ids=["2D", "4D", "RGB", "complex"],
)
def test_images_of_another_kind(tmp_path, bad, match):
    path = tmp_path / "bad.nrrd"
    if bad.GetPixelID() == sitk.sitkComplexFloat32:
        path = tmp_path / "bad.nii"
    sitk.WriteImage(bad, str(path))
    refused(match, files.read_image, path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_no_numbers(tmp_path, image, value):
    image[3, 4, 5] = float(value)
    path = tmp_path / "nan.nrrd"
    sitk.WriteImage(image, str(path))
    refused("1 voxels that are NaN or infinite", files.read_image, path)


def edited(folder, image, **places) -> str:
    """A NIfTI-1 file with other numbers: places are bytes from its start, by format ("f84": 0.0)."""
    path = folder / "edited.nii"
    sitk.WriteImage(image, str(path))
    content = bytearray(path.read_bytes())
    for place, value in places.items():
        struct.pack_into(f"<{place[0]}", content, int(place[1:]), value)
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("places", "match"),
    [({"f752": np.nan}, "1 voxels that are NaN or infinite"), ({"f352": np.inf}, "1 voxels that are NaN or infinite"),
     ({"f84": 0.0}, "has voxels of 0.7 x 0 x 3 mm"), ({"f84": -2.0}, "0.7 x -2 x 3 mm"), ({"f84": np.nan}, "nan"),
     ({"h44": 0}, "holds no voxels"), ({"f288": 0.3}, "sheared"), ({"h252": 0, "f288": 0.3}, "sheared"),
     ({"h252": 0, "f288": 0.001}, "not perpendicular"), ({"h252": 0, "f280": -1.4}, "contradicts itself"),
     ({"h252": 0, "f280": 0.0}, "contradicts itself")],
)  # fmt: skip
def test_nifti_that_itk_would_repair_in_silence(tmp_path, image, places, match):
    path = edited(tmp_path, image, **places)
    refused(match, files.read_image, path)
    refused("edited.nii", files.read_image, path)


@pytest.mark.parametrize("big", [False, True], ids=["NIfTI-1", "NIfTI-2"])
def test_nan_in_the_last_voxel_of_a_large_file(tmp_path, big):
    """Beyond the first part that is read at once, in doubles, compressed. (Not every ITK reads NIfTI-2.)"""
    values = np.random.default_rng(0).normal(size=(70, 100, 101))
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "large.nii"))
    content = (tmp_path / "large.nii").read_bytes()
    if big:
        header = bytearray(544)
        struct.pack_into("<i8s2h8q", header, 0, 540, b"n+2\0\r\n\x1a\n", 64, 64, 3, 101, 100, 70, 1, 1, 1, 1)
        struct.pack_into("<8dq", header, 104, 1, 1, 1, 1, 0, 0, 0, 0, 544)
        content = bytes(header) + content[352:]
    path = tmp_path / "large.nii.gz"
    path.write_bytes(gzip.compress(content, 1))
    check_sound(path)
    path.write_bytes(gzip.compress(content[:-8] + struct.pack("<d", np.nan), 1))
    refused("1 voxels that are NaN", files.read_image, path)


def test_an_offset_of_zero_means_behind_the_header(tmp_path, image):
    assert files.read_image(edited(tmp_path, image, f108=0.0)).GetSize() == image.GetSize()


def test_a_sheared_matrix_that_is_not_the_scanners_has_no_say(tmp_path, image):
    assert files.read_image(edited(tmp_path, image, h254=4, f288=0.3)).GetSize() == image.GetSize()


@pytest.mark.parametrize(
    ("suffix", "old", "new", "match"),
    [(".nrrd", b"(0,0,3)", b"(0,0.9,3)", "sheared"), (".nrrd", b"(0,0,3)", b"(0,0,0)", "no size"),
     (".mha", b"1 0 0 0 1 0 0 0 1", b"1 0 0 0 1 0 0 0.3 1", "sheared"), (".mha", b"0 0 0 1\n", b"0 0 0 0\n", "damaged"),
     (".mha", b"= 1 2 3", b"= 1 0 3", "zero or negative"), (".mha", b"= 1 2 3", b"= 1 -2 3", "negative"),
     (".mha", b"= 1 2 3", b"= 1 nan 3", "zero or negative"), (".mha", b"19 18 17", b"19 0 17", "no voxels")],
)  # fmt: skip
def test_headers_of_images_that_cannot_be(tmp_path, image, suffix, old, new, match):
    image.SetSpacing((1.0, 2.0, 3.0))
    path = tmp_path / f"bad{suffix}"
    sitk.WriteImage(image, str(path))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    refused(match, files.read_image, path)


def test_a_segmentation_with_overlapping_segments(tmp_path):
    """As Slicer writes it: a list of layers."""
    layers = sitk.Image((20, 21, 22), sitk.sitkVectorUInt8, 2)
    layers.SetMetaData("Segment0_Layer", "0")
    path = tmp_path / "both.seg.nrrd"
    sitk.WriteImage(layers, str(path))
    path.write_bytes(path.read_bytes().replace(b"kinds: vector", b"kinds: list"))
    refused("both.seg.nrrd has 2 layers.*label map", files.read_labels, path)


def test_four_dimensions_of_which_one_is_empty(tmp_path):
    path = tmp_path / "one.nii.gz"
    sitk.WriteImage(sitk.Image((20, 21, 22, 1), sitk.sitkFloat32), str(path))
    assert files.read_image(path).GetSize() == (20, 21, 22)


@pytest.mark.parametrize(("values", "match"), [((0, 1.5), "fractional"), ((-1, 2), "outside"), ((0, 70000), "outside")])
def test_labels_must_be_labels(tmp_path, values, match):
    array = np.full((16, 16, 16), values[0], np.float32)
    array[0, 0, 0] = values[1]
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "labels.nrrd"))
    refused(match, files.read_labels, tmp_path / "labels.nrrd")


@pytest.mark.parametrize("suffix", files.TRANSFORM_SUFFIXES)
def test_transforms_survive_the_disk(tmp_path, grid, suffix):
    vectors = np.random.default_rng(1).normal(size=(*grid.shape, 3)).astype(np.float32)
    field = grid.image(vectors)
    path = tmp_path / f"field{suffix}"
    files.write_transform(field, path)
    transform = files.read_transform(path)
    for index in ((0, 0, 0), (3, 5, 7), (9, 2, 4)):
        point = np.array(field.TransformIndexToPhysicalPoint(index))
        expected = point + np.array(field[index])
        assert np.allclose(transform.TransformPoint(point.tolist()), expected, atol=1e-4)


def test_transform_that_is_no_field(tmp_path, image):
    sitk.WriteImage(image, str(tmp_path / "image.nrrd"))
    refused("no 3-D displacement field", files.read_transform, tmp_path / "image.nrrd")
    (tmp_path / "text.h5").write_text("no transform")
    refused("cannot be read", files.read_transform, tmp_path / "text.h5")


TRANSFORMS = [
    sitk.AffineTransform(3),
    sitk.CompositeTransform([sitk.TranslationTransform(3, (1.0, 2.0, 3.0)), sitk.ScaleTransform(3)]),
    sitk.Euler3DTransform(),
    sitk.ScaleSkewVersor3DTransform(),
    sitk.ScaleVersor3DTransform(),
    sitk.Similarity3DTransform(),
    sitk.VersorRigid3DTransform(),
    sitk.VersorTransform(),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform.GetName())
def test_transforms_in_text_are_read(tmp_path, transform):
    sitk.WriteTransform(transform, str(tmp_path / "t.tfm"))
    read = files.read_transform(tmp_path / "t.tfm")
    assert read.TransformPoint((1.0, 2.0, 3.0)) == pytest.approx(transform.TransformPoint((1.0, 2.0, 3.0)))


def nan_field() -> sitk.Image:
    values = np.zeros((8, 8, 8, 3))
    values[2, 3, 4, 0] = np.nan
    return sitk.GetImageFromArray(values, isVector=True)


def affine(matrix=(1, 0, 0, 0, 1, 0, 0, 0, 1), x=0.0) -> sitk.AffineTransform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix)
    transform.SetTranslation((x, 0.0, 0.0))
    return transform


@pytest.mark.parametrize("suffix", [".h5", ".tfm"])
@pytest.mark.parametrize(
    ("transform", "match"),
    [(affine((1, 0, 0, 0, 1, 0, 0, 0, 0)), "cannot be inverted"), (sitk.ScaleTransform(3, (1, 0, 1)), "be inverted"),
     (sitk.CompositeTransform([sitk.Euler3DTransform(), sitk.ScaleTransform(3, (1, 0, 1))]), "cannot be inverted"),
     (sitk.AffineTransform(2), "2-D"), (affine(x=np.nan), "NaN|not those of a transform")],
    ids=["singular", "flat", "composite", "2-D", "NaN"],
)  # fmt: skip
def test_transforms_that_lead_nowhere(tmp_path, transform, match, suffix):
    sitk.WriteTransform(transform, str(tmp_path / f"t{suffix}"))
    refused(match, files.read_transform, tmp_path / f"t{suffix}")


@pytest.mark.parametrize(
    ("field", "match"),
    [(nan_field(), "NaN or infinite"), (sitk.Image((8, 8, 8), sitk.sitkVectorFloat32, 2), "three components"),
     (sitk.Image((8, 8), sitk.sitkVectorFloat32, 3), "2-D"), (sitk.Image((8, 8, 8), sitk.sitkVectorUInt8, 3), "8-bit")],
    ids=["NaN", "two components", "2-D", "colours"],
)  # fmt: skip
def test_fields_of_another_kind(tmp_path, field, match):
    for suffix in (".nrrd", ".nii.gz"):
        sitk.WriteImage(field, str(tmp_path / f"f{suffix}"))
        refused(match, files.read_transform, tmp_path / f"f{suffix}")


def test_a_field_that_is_cut_off(tmp_path, grid):
    path = tmp_path / "f.nii"
    files.write_transform(grid.image(np.ones((*grid.shape, 3), np.float32)), path)
    path.write_bytes(path.read_bytes()[:-100])
    refused("cannot be read", files.read_transform, path)


@pytest.mark.parametrize("suffix", [".txt", ".tfm", ".mat", ".xfm", ".h5", ".nrrd", ".dat"])
def test_files_that_are_no_transform(tmp_path, suffix):
    (tmp_path / f"t{suffix}").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    refused(f"t{suffix}", files.read_transform, tmp_path / f"t{suffix}")


@pytest.mark.parametrize("numbers", ["", "0 0", "0 0 0 0 0 0 0", "x 0 0 0 0 0", "0 0 x 0 0 0", "1e400 0 0 0 0 0",
                                     "nan 0 0 0 0 0", "1_0 0 0 0 0 0", "\\ 0 0 0 0 0 0"])  # fmt: skip
def test_text_with_other_numbers_than_the_transform_has_is_refused(tmp_path, numbers):
    """ITK crashes on the first, and reads memory that is not its own for the second."""
    head = "#Insight Transform File V1.0\n#Transform 0\nTransform: Euler3DTransform_double_3_3\n"
    (tmp_path / "t.tfm").write_text(f"{head}Parameters: {numbers}\nFixedParameters: 0 0 0 0\n")
    refused("not those of a transform", files.read_transform, tmp_path / "t.tfm")


def test_a_kind_of_transform_that_simpleitk_does_not_know_is_refused(tmp_path, monkeypatch):
    """As ComposeScaleSkewVersor3DTransform is not by SimpleITK 2.5."""

    def unknown(path):
        raise KeyError(10)

    sitk.WriteTransform(sitk.AffineTransform(3), str(tmp_path / "t.tfm"))
    monkeypatch.setattr(sitk, "ReadTransform", unknown)
    refused("not known", files.read_transform, tmp_path / "t.tfm")


def test_a_failed_write_leaves_the_old_file(tmp_path, image, monkeypatch):
    path = tmp_path / "image.nrrd"
    files.write_image(image, path)
    before = path.read_bytes()

    def fail(image, name, **options):
        with open(name, "wb") as file:
            file.write(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(OSError, match="image.nrrd cannot be written: disk full"):
        files.write_image(image * 2, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["image.nrrd"]
