"""What an image file says of itself, looked at before its voxels are read: a file may come from anyone."""

from __future__ import annotations

import math
import re
from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError

_TEXT_HEADER = 1 << 16  # bytes; those of NRRD and MetaImage are a few hundred
_LONGEST_LINE = 1000  # ITK's reader of NRRD ends in a crash on words of some thousand letters
_MOST_COMPRESSION = 1100  # deflate reaches 1032:1 on constant data
_REFERENCE = {
    ".nrrd": re.compile(rb"^\s*data ?file\s*:", re.IGNORECASE | re.MULTILINE),
    ".mha": re.compile(rb"^\s*ElementDataFile\s*=\s*(?!\s|LOCAL\s*$)", re.MULTILINE),
}
_SMALLEST_MM, _LARGEST_MM = 1e-3, 1e3  # of a voxel
_FARTHEST_MM = 1e6  # of the origin


def check_header(path: Path, role: str) -> None:
    """Raise InputError when a file refers to other files, or claims more voxels than it can hold.

    NRRD and MetaImage headers may name a file with the voxels, anywhere; in the single-file types .nrrd and .mha that
    is refused. A claim of billions of voxels would fill the memory before the reading fails.
    """
    suffix = path.suffix.lower()
    if suffix in _REFERENCE:
        with open(path, "rb") as file:
            header = file.read(_TEXT_HEADER)
        if _REFERENCE[suffix].search(header.split(b"\n\n")[0] if suffix == ".nrrd" else _metaimage_header(header)):
            raise InputError(f"The {role} {path} refers to another file for its voxels; save it as a single file.")
        if suffix == ".nrrd" and max(map(len, header.split(b"\n\n")[0].splitlines()), default=0) > _LONGEST_LINE:
            raise InputError(f"The {role} {path} is damaged: its header is no NRRD header.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    voxels = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    if voxels > _MOST_COMPRESSION * path.stat().st_size:
        size = " x ".join(map(str, reader.GetSize()))
        raise InputError(f"The {role} {path} is damaged: {size} voxels cannot be in a file of its size.")


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


def _metaimage_header(start: bytes) -> bytes:
    """The text of a MetaImage header: up to the line that names where the voxels are."""
    match = re.search(rb"^\s*ElementDataFile\s*=.*$", start, re.MULTILINE)
    return start[: match.end()] if match else start
