"""Images, labels and transforms from and to disk: every check on the way in, every write whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..whole_files import followed, replacing, reserve
from .dicom import read_series
from .headers import (
    check_geometry,
    check_hdf5,
    check_header,
    check_name,
    check_perpendicular,
    check_transform,
    check_transform_text,
)
from .nifti import check_sound, check_whole
from .settings import MINIMUM_SIZE

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
TRANSFORM_SUFFIXES = (".h5", ".nrrd", ".nii.gz", ".mha")
_TRANSFORM_FILE_SUFFIXES = (".h5", ".hdf5", ".tfm", ".txt", ".mat", ".xfm")
_HDF5_OVERHEAD = 1 << 16
_MEANINGS = {  # of what ITK says
    "Refusing to change spacing": "its voxels have no size",
    "orthonormal direction cosines": "its axes are not perpendicular; resample it onto a straight grid",
    "Transform is not of type": "it is of a kind that is not known",
}
_UNKNOWN_KIND = re.compile(r'instance of "(\w+?)_(?:double|float)_')
_SAVE_INSTEAD = "save it as an affine transform, or converted to a displacement field (in Slicer: a grid transform)"
_LONGEST_NAME = 255  # of a file or folder; in bytes, on Windows in letters


def suffix(path: Path) -> str:
    """Return the file type of ``path`` in lower case; ``.nii.gz`` counts as one suffix."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def read_image(path: str | Path, role: str = "image") -> sitk.Image:
    """Read a scalar 3-D volume as float32 in LPS mm, from a NIfTI, NRRD or MetaImage file or a DICOM series folder.

    ``role`` names the input in error messages ("fixed image"). Metadata such as DICOM tags is left behind.

    Raises:
        InputError: when the volume is missing, unreadable, not 3-D, not scalar, or has sheared axes, or NaN or infinite
            voxels.
    """
    image = _read(Path(path), role)
    check_volume(image, f"{role} {path}")
    check_perpendicular(image, f"{role} {path}")
    return _plain(sitk.Cast(image, sitk.sitkFloat32))


def read_labels(path: str | Path, role: str = "segmentation") -> sitk.Image:
    """Read a 3-D label map as unsigned 16-bit integers (0 is background).

    Raises:
        InputError: as `read_image`, and when a voxel is not a whole number between 0 and 65535.
    """
    image = _read(Path(path), role)
    layers = image.GetNumberOfComponentsPerPixel()
    if layers > 1 and any(key.startswith("Segment0_") for key in image.GetMetaDataKeys()):
        raise InputError(
            f"The {role} {path} has {layers} layers, for segments that overlap; in Slicer's module Segmentations, "
            "export the segments that you need to a label map and give that."
        )
    check_volume(image, f"{role} {path}")
    check_perpendicular(image, f"{role} {path}")
    values = sitk.GetArrayViewFromImage(image)
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"The {role} {path} has labels outside 0-65535; export it as a label map of whole numbers.")
    if not np.issubdtype(values.dtype, np.integer) and np.any(values != np.rint(values)):
        raise InputError(f"The {role} {path} has fractional values; a label map of whole numbers is needed.")
    return _plain(sitk.Cast(image, sitk.sitkUInt16))


def read_transform(path: str | Path, role: str = "transform") -> sitk.Transform:
    """Read a fixed-to-moving point transform (LPS mm) from an ITK transform file or a displacement-field image.

    Raises:
        InputError: when it is missing, unreadable, not 3-D, not finite, or cannot be inverted, or is an image of other
            voxels than three real numbers.
    """
    path = Path(path)
    check_name(path, role)
    if not path.is_file():
        raise InputError(f"The {role} {path} does not exist; check the path.")
    if suffix(path) in (".h5", ".hdf5"):
        check_hdf5(path, role)
    if suffix(path) in (".tfm", ".txt"):
        check_transform_text(path, role)
    name = f"{role} {path}"
    try:
        if suffix(path) not in _TRANSFORM_FILE_SUFFIXES:
            return _field_transform(_read(path, role), name)
        transform = sitk.ReadTransform(str(path))
    except (KeyError, TypeError):  # SimpleITK's table of its transform classes has gaps
        raise InputError(f"The {name} is of a kind that is not known; {_SAVE_INSTEAD}.") from None
    except (RuntimeError, UnicodeDecodeError) as error:
        unknown = _UNKNOWN_KIND.search(str(error))
        if unknown:
            raise InputError(f"The {name} is a {unknown[1]}, a kind that is not known; {_SAVE_INSTEAD}.") from None
        raise InputError(
            f"The {name} cannot be read: {reason(error)}; give an ITK transform or a displacement field."
        ) from None
    check_transform(transform, name)
    return transform


def _field_transform(field: sitk.Image, name: str) -> sitk.Transform:
    if field.GetDimension() != 3 or field.GetPixelID() not in (sitk.sitkVectorFloat32, sitk.sitkVectorFloat64):
        kind = f"{field.GetDimension()}-D, {field.GetPixelIDTypeAsString()}"
        raise InputError(f"The {name} is no 3-D displacement field: it needs three real numbers a voxel, not {kind}.")
    if field.GetNumberOfComponentsPerPixel() != 3:
        raise InputError(f"The {name} is no 3-D displacement field: it needs three components a voxel.")
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    check_transform(transform, name)
    return transform


def write_image(image: sitk.Image, path: str | Path) -> None:
    """Write an image atomically: the file appears under its name only when it is whole.

    Raises:
        OSError: it cannot be written; the message names the file.
    """
    path = Path(path)
    with _written(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True)
        if suffix(path) in (".nii", ".nii.gz"):  # ITK writes NIfTI to a full disk without a word
            check_whole(temporary)


def write_transform(field: sitk.Image, path: str | Path) -> None:
    """Write a displacement field (LPS mm, fixed to moving points) atomically.

    ``.h5`` becomes an ITK displacement-field transform, the image types a vector image; Slicer reads either as a
    from-parent grid transform and ``SimpleITK.Resample(moving, fixed, transform)`` takes it as it is.

    Raises:
        OSError: it cannot be written; the message names the file.
    """
    path = Path(path)
    if suffix(path) == ".h5":
        transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
        with _written(path) as temporary:
            reserve(temporary, 3 * 8 * field.GetNumberOfPixels() + _HDF5_OVERHEAD)  # HDF5 cannot close on a full disk
            sitk.WriteTransform(transform, str(temporary))
    else:
        write_image(sitk.Cast(field, sitk.sitkVectorFloat32), path)


def check_output(path: str | Path, role: str, suffixes: tuple[str, ...] | None = None) -> Path:
    """Return ``path`` if a file can be written there, before any work is done for it. An existing file may be replaced.

    Raises:
        InputError: for a file type that cannot be written, a name that is too long or no text, a folder in the file's
            place, or a place without write access. Of a link, the place is where it leads.
    """
    path = Path(path)
    if suffixes is not None and suffix(path) not in suffixes:
        raise InputError(f"The {role} {path} has an unknown file type; use one of {', '.join(suffixes)}.")
    _check_length(path, role)
    if os.path.isdir(path):
        raise InputError(f"The {role} {path} is a folder; give the name of a file.")
    folder = followed(path).absolute().parent
    check_name(folder, f"folder of the {role}")
    while not os.path.exists(folder):  # false without access, where Path.exists raises
        if os.path.islink(folder):
            raise InputError(
                f"The {role} {path} cannot be written: the link {folder} leads nowhere; choose another folder."
            )
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"The {role} {path} cannot be written: {error.strerror}; choose another folder.") from None
    return path


def _check_length(path: Path, role: str) -> None:
    """Raise InputError where the system knows no names so long; of folders that do not exist it would tell too late."""
    for part in path.parts:
        length = len(part) if os.name == "nt" else len(os.fsencode(part))
        if length > _LONGEST_NAME:
            raise InputError(
                f"The {role} {path} has a name of {length} bytes, too long; give one of at most {_LONGEST_NAME} bytes."
            )
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"The {role} {path} is too long a path; choose another folder.") from None


def check_volume(image: sitk.Image, name: str) -> None:
    """Raise InputError unless ``image`` is a 3-D scalar volume of finite numbers."""
    if image.GetDimension() != 3:
        raise InputError(f"The {name} has {image.GetDimension()} dimensions; give one 3-D volume.")
    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise InputError(
            f"The {name} has {image.GetPixelIDTypeAsString()} pixels; give a volume with one real number a voxel."
        )
    if not min(image.GetSize()):
        raise InputError(f"The {name} holds no voxels; its header is damaged.")
    check_geometry(image, name)
    values = sitk.GetArrayViewFromImage(image)
    if np.issubdtype(values.dtype, np.floating):
        farthest = max(float(values.max()), -float(values.min()))  # NaN if one is
        if not np.isfinite(farthest):
            bad = int(values.size - np.isfinite(values).sum())
            raise InputError(f"The {name} has {bad} voxels that are NaN or infinite; replace them by background.")
        if farthest > np.finfo(np.float32).max:
            raise InputError(f"The {name} has values as large as {farthest:.3g}; that is no image. Check its file.")


def check_content(image: sitk.Image, name: str) -> None:
    """Raise InputError unless ``image`` has at least 16 voxels along each axis and more than one grey value."""
    if min(image.GetSize()) < MINIMUM_SIZE:
        size = " x ".join(map(str, image.GetSize()))
        raise InputError(f"The {name} is {size} voxels; at least {MINIMUM_SIZE} along each axis are needed.")
    values = sitk.GetArrayViewFromImage(image)
    if values.min() == values.max():
        raise InputError(f"The {name} is constant (every voxel is {values.flat[0]:g}); there is nothing to align.")


def _read(path: Path, role: str) -> sitk.Image:
    check_name(path, role)
    if path.is_dir():
        return _read_dicom(path, role)
    if not path.is_file():
        raise InputError(f"The {role} {path} does not exist; check the path.")
    before = _stamp(path)
    if suffix(path) in (".nii", ".nii.gz"):
        check_sound(path, role)
    try:
        check_header(path, role)
        image = sitk.ReadImage(str(path))
    except (RuntimeError, OSError) as error:
        why = reason(error)
        if "No such file" in why:  # what MetaImage says where its voxels end too soon
            why = "it is damaged or not completely copied, or refers to another file that is missing"
        raise InputError(f"The {role} {path} cannot be read as an image: {why}") from None
    if _stamp(path) != before:
        raise InputError(f"The {role} {path} was changed while it was read; try again when it is complete.")
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetNumberOfComponentsPerPixel() == 1 and "vector" in image.GetPixelIDTypeAsString():
        image = sitk.VectorIndexSelectionCast(image, 0)  # 4-D NRRD with a list of one
    return image


def _read_dicom(folder: Path, role: str) -> sitk.Image:
    try:
        return read_series(folder, role)
    except (RuntimeError, OSError) as error:
        raise InputError(f"The {role} folder {folder} cannot be read as DICOM: {reason(error)}") from None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is written to or replaced; None when it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """Give a temporary file that becomes ``path``; an error of whichever library becomes an OSError with its name."""
    try:
        with replacing(path, suffix(path)) as temporary:
            yield temporary
    except InputError:
        raise OSError(f"{path} cannot be written: the disk is full or failing; make room and run again.") from None
    except RuntimeError as error:
        raise OSError(f"{path} cannot be written: {reason(error)}; make room or choose another folder.") from None


def _plain(image: sitk.Image) -> sitk.Image:
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    return image


def reason(error: Exception) -> str:
    """Return the last line that ITK says of an error, without its addresses and C++ file names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[-1] if lines else "unknown reason"
    for said, meant in _MEANINGS.items():
        if said in line:
            return meant
    return line.split("): ", 1)[-1].removeprefix("sitk::ERROR: ")
