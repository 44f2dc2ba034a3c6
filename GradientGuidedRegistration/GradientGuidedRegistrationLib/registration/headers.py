"""What a file says of itself, looked at before ITK reads the rest: a file may come from anyone."""

from __future__ import annotations

import math
import os
import re
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .nifti import is_gzip, is_nifti_2

_TEXT_HEADER = 1 << 20  # bytes; that of a segmentation with a hundred segments has a tenth of it
_LONGEST_LINE = 1000  # ITK's reader of NRRD ends in a crash where it quotes a longer one as wrong
_FREE_LINE = re.compile(rb"#|(?:(?!: ).)*:=|content: ", re.IGNORECASE)  # in these nothing can be wrong
_MOST_COMPRESSION = 1100  # deflate reaches 1032:1 on constant data
_REFERENCE = {
    ".nrrd": re.compile(rb"^\s*data ?file\s*:", re.IGNORECASE | re.MULTILINE),
    ".mha": re.compile(rb"^\s*ElementDataFile\s*=\s*(?!\s|(?i:LOCAL)\s*$)", re.MULTILINE),
}
_DATA_FILE = {
    ".nhdr": re.compile(rb"^\s*data ?file\s*:\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE),
    ".mhd": re.compile(rb"^\s*ElementDataFile\s*=\s*(.*?)\s*$", re.MULTILINE),
}
_DIMENSIONS = re.compile(rb"^\s*NDims\s*=\s*[1-9]\s*$", re.MULTILINE)  # ITK ends in a crash on more
_MATRIX = re.compile(rb"^\s*(?:TransformMatrix|Rotation|Orientation)\s*=(.*)$", re.MULTILINE)
_SPACING = re.compile(rb"^\s*ElementSpacing\s*=(.*)$", re.MULTILINE)
_LARGEST_IN_MATRIX = 1e6  # ITK does not come back from decomposing a matrix of enormous numbers
_HDF5_START = 64
_HDF5_END = {b"\0": 40, b"\1": 44, b"\2": 28, b"\3": 28}  # where a superblock of this version has the file's length
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
_PARAMETERS = {  # how many numbers a transform has; the others are counted by ITK itself
    "Euler3DTransform": 6,
    "ScaleSkewVersor3DTransform": 15,
    "ScaleVersor3DTransform": 9,
    "Similarity3DTransform": 7,
    "TranslationTransform": 3,
    "ScaleTransform": 3,
    "VersorRigid3DTransform": 6,
    "VersorTransform": 3,
}
_IMAGE_IOS = ("NiftiImageIO", "NrrdImageIO", "MetaImageIO")
_PAIRED = (".hdr", ".img", ".img.gz")  # NIfTI in two files, which are not looked at
_SMALLEST_MM, _LARGEST_MM = 1e-3, 1e3  # of a voxel
_FARTHEST_MM = 1e6  # of the origin
_SMALLEST_SCALE = 1e-3  # that a transform may have in any direction
_PERPENDICULAR = 1e-3  # cosine of the angle between two axes


def check_name(path: Path, role: str) -> None:
    """Raise InputError for a path with bytes that are no UTF-8, on which SimpleITK ends in a crash."""
    shown = str(path).encode("utf-8", "backslashreplace").decode()
    if shown != str(path):
        raise InputError(f"The {role} {shown} has a name that is not UTF-8 text; rename it.")


def check_header(path: Path, role: str) -> None:
    """Raise InputError when a file is of another type than those read here, refers to other files where its type does
    not, or claims more voxels than it can hold.

    NRRD and MetaImage headers may name a file with the voxels, anywhere; in the single-file types .nrrd and .mha that
    is refused, and in .nhdr and .mhd it has to be one file, which is there. A claim of billions of voxels would fill
    the memory before the reading fails.
    """
    suffix = path.suffix.lower()
    if suffix in _REFERENCE:
        with open(path, "rb") as file:
            start = file.read(_TEXT_HEADER)
        header = _nrrd_header(start) if suffix == ".nrrd" else _metaimage_header(start)
        if _REFERENCE[suffix].search(header):
            raise InputError(f"The {role} {path} refers to another file for its voxels; save it as a single file.")
        if suffix == ".nrrd" and max(map(len, _bound_lines(header)), default=0) > _LONGEST_LINE:
            raise InputError(f"The {role} {path} is damaged: its header is no NRRD header.")
        if suffix == ".mha" and not _is_sane(header):
            raise InputError(f"The {role} {path} is damaged: its header is no MetaImage header.")
        if suffix == ".mha" and not all(0 < size < math.inf for size in _numbers(_SPACING, header)):
            raise InputError(f"The {role} {path} has voxels of zero or negative size; its header is damaged.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    kind = reader.GetImageIOFromFileName(str(path))
    if kind == "GDCMImageIO":
        raise InputError(
            f"The {role} {path} is a DICOM file; give the folder with all files of its series, and no other."
        )
    if suffix == ".nii" and is_gzip(path):
        raise InputError(f"The {role} {path} is compressed; rename it to {path.name}.gz.")
    if not kind and is_nifti_2(path):
        raise InputError(f"The {role} {path} is NIfTI-2, which is not read; save it as NIfTI-1 or NRRD.")
    if not kind and path.suffix != suffix and suffix in (*_REFERENCE, *_DATA_FILE):
        raise InputError(f"The {role} {path} is not known by its ending in capitals; rename it to {path.stem}{suffix}.")
    if kind not in _IMAGE_IOS or path.name.lower().endswith(_PAIRED):
        raise InputError(
            f"The {role} {path} is no image file that can be read; give NIfTI (.nii, .nii.gz), NRRD or MetaImage."
        )
    data_bytes = _size_of_data_file(path, role)
    reader.ReadImageInformation()
    voxels = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    if voxels > _MOST_COMPRESSION * (path.stat().st_size + data_bytes):
        size = " x ".join(map(str, reader.GetSize()))
        raise InputError(f"The {role} {path} is damaged: {size} voxels cannot be in a file of its size.")


def _size_of_data_file(path: Path, role: str) -> int:
    """Return the bytes of the file that a header names for its voxels; 0 for a file that holds them itself."""
    pattern = _DATA_FILE.get(path.suffix.lower())
    if pattern is None:
        return 0
    with open(path, "rb") as file:
        found = pattern.search(file.read(_TEXT_HEADER))
    name = found[1].decode("utf-8", "replace") if found else ""
    if name.upper() in ("LOCAL", ""):
        return 0
    data = path.parent / name
    if not os.path.isfile(data):  # False for a name that cannot be one, where Path.is_file raises
        raise InputError(
            f"The {role} {path} refers to '{name}' for its voxels, no file beside it; save it as a single file."
        )
    return data.stat().st_size


def check_hdf5(path: Path, role: str) -> None:
    """Raise InputError when an HDF5 file is not as long as it says: ITK ends in a crash on some that are not."""
    with open(path, "rb") as file:
        start = file.read(_HDF5_START)
    place = _HDF5_END.get(start[8:9])
    if place is None or len(start) < _HDF5_START or start[:8] != b"\x89HDF\r\n\x1a\n":
        raise InputError(f"The {role} {path} cannot be read: it is no HDF5 file.")
    if struct.unpack_from("<Q", start, place)[0] != path.stat().st_size:
        raise InputError(f"The {role} {path} cannot be read: it is damaged or not completely copied; copy it again.")


def check_transform_text(path: Path, role: str) -> None:
    """Raise InputError when a text file of ITK transforms has other than finite numbers, or too few or many of them.

    ITK reads on in memory, or ends in a crash, where numbers are missing.
    """
    damaged = InputError(f"The {role} {path} is damaged: its numbers are not those of a transform.")
    kind, text = "", path.read_text(encoding="utf-8", errors="replace")
    if "Transform:" not in text:
        raise InputError(f"The {role} {path} is no ITK transform; save one as .h5 or .tfm, for example in Slicer.")
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "Transform":
            kind = value.partition("_")[0]
        elif name in ("Parameters", "FixedParameters"):
            numbers = value.split()
            if not all(_NUMBER.fullmatch(number) and math.isfinite(float(number)) for number in numbers):
                raise damaged
            if name == "Parameters" and len(numbers) != _PARAMETERS.get(kind, len(numbers)):
                raise damaged


def is_in_parts(transform: sitk.Transform) -> bool:
    """Whether a transform has to be taken by its parts: not if it is linear as a whole.

    SimpleITK gives a MatrixOffsetTransformBase, as ITK-SNAP writes it, for a composite whose only part is itself.
    """
    return transform.GetName() == "CompositeTransform" and not transform.IsLinear()


def check_transform(transform: sitk.Transform, name: str) -> None:
    """Raise InputError unless a transform is one of finite numbers between 3-D points that can be inverted.

    Of a displacement field (LPS mm) the numbers are looked at, not whether it folds.
    """
    if transform.GetDimension() != 3:
        raise InputError(f"The {name} is a {transform.GetDimension()}-D transform; give one of 3-D points.")
    if is_in_parts(transform):
        whole = sitk.CompositeTransform(transform)
        for number in range(whole.GetNumberOfTransforms()):
            check_transform(whole.GetNthTransform(number).Downcast(), name)
        return
    if isinstance(transform, sitk.DisplacementFieldTransform):
        finite = np.isfinite(sitk.GetArrayViewFromImage(transform.GetDisplacementField())).all()
    else:
        finite = np.isfinite((*transform.GetParameters(), *transform.GetFixedParameters())).all()
    if not finite:
        raise InputError(f"The {name} has numbers that are NaN or infinite; give another one.")
    if transform.IsLinear():
        if np.linalg.svd(linear_matrix(transform)[:, :3], compute_uv=False)[-1] < _SMALLEST_SCALE:
            raise InputError(f"The {name} cannot be inverted: it flattens space; give a rigid or an affine one.")


def linear_matrix(transform: sitk.Transform) -> np.ndarray:
    """Return the (3, 4) matrix of a linear point transform (LPS mm): the linear part, and where the origin goes."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(unit)) - origin for unit in np.eye(3).tolist()]
    return np.column_stack([*columns, origin])


def check_geometry(image: sitk.Image, name: str) -> None:
    """Raise InputError when the voxel size or position of an image is not that of a patient's scan (LPS mm)."""
    for spacing in image.GetSpacing():
        if not _SMALLEST_MM <= spacing <= _LARGEST_MM:
            raise InputError(f"The {name} has voxels of {spacing:g} mm; its header is damaged, or in another unit.")
    for value in image.GetOrigin():
        if not abs(value) <= _FARTHEST_MM:
            raise InputError(f"The {name} lies {value:g} mm from the origin; its header is damaged.")
    if not all(math.isfinite(value) for value in image.GetDirection()):
        raise InputError(f"The {name} has no valid orientation; its header is damaged.")


def check_perpendicular(image: sitk.Image, name: str) -> None:
    """Raise InputError when the axes of an image are sheared."""
    axes = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)
    if np.abs(axes.T @ axes - np.eye(len(axes))).max() > _PERPENDICULAR:
        raise InputError(f"The {name} is sheared: its axes are not perpendicular; resample it onto a straight grid.")


def _is_sane(header: bytes) -> bool:
    """Whether a MetaImage header has a number of dimensions, and orientations of numbers that can be."""
    try:
        _numbers(_SPACING, header)
        numbers = _numbers(_MATRIX, header)
    except ValueError:
        return False
    if len(numbers) == 9 and abs(np.linalg.det(np.reshape(numbers, (3, 3)))) < _SMALLEST_SCALE:
        return False
    return bool(_DIMENSIONS.search(header)) and all(abs(number) < _LARGEST_IN_MATRIX for number in numbers)


def _numbers(line: re.Pattern[bytes], header: bytes) -> list[float]:
    """The numbers in the lines of a header that a pattern finds. Raises ValueError for other words."""
    return [float(word) for found in line.findall(header) for word in found.split()]


def _nrrd_header(start: bytes) -> bytes:
    """The text of a NRRD header, with line ends of one kind: up to the empty line."""
    return re.sub(rb"\r\n?", b"\n", start).partition(b"\n\n")[0]


def _bound_lines(header: bytes) -> list[bytes]:
    """The lines of a NRRD header but for comments, keys with their values, and the content in words."""
    return [line for line in header.splitlines() if not _FREE_LINE.match(line)]


def _metaimage_header(start: bytes) -> bytes:
    """The text of a MetaImage header: up to the line that names where the voxels are."""
    match = re.search(rb"^\s*ElementDataFile\s*=.*$", start, re.MULTILINE)
    return start[: match.end()] if match else start
