"""Pixels to PNG bytes, and files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np


def png_bytes(pixels: np.ndarray) -> bytes:
    """The PNG file of a picture uint8 (height, width, 3)."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOImage import vtkPNGWriter

    height, width, channels = pixels.shape
    scalars = numpy_to_vtk(np.ascontiguousarray(pixels[::-1]).reshape(-1, channels), deep=True)
    image = vtkImageData()
    image.SetDimensions(width, height, 1)
    image.GetPointData().SetScalars(scalars)
    writer = vtkPNGWriter()
    writer.WriteToMemoryOn()
    writer.SetCompressionLevel(5)
    writer.SetInputData(image)
    writer.Write()
    return vtk_to_numpy(writer.GetResult()).tobytes()


def write_atomically(path: Path, content: bytes) -> Path:
    """Write a file under a temporary name and move it into place when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes private files; a report is meant to be shared
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    return path
