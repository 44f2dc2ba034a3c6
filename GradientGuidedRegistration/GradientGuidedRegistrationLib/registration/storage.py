"""A registration on disk: what goes into it and what comes out of it, each a folder that is whole or not there.

So that it can be done in another process. Images are stored uncompressed (a scratch folder, read once).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..whole_files import replacing_folder, write_text
from .files import reason
from .headers import check_transform_text, linear_matrix
from .result import Result
from .settings import Settings

_FORMAT = 1
_SETTINGS = "settings.json"
_ABOUT = "result.json"
_FIELDS = ("field", "inverse_field", "image_field", "gradient_field", "expected_error")
_GATES = ("image_gate", "gradient_gate")
_RECORDED = ("quality", "timings", "versions")


@dataclass(frozen=True)
class Job:
    """The input of `pipeline.register` as one value: images in LPS mm, transform from fixed to moving points."""

    fixed: sitk.Image
    moving: sitk.Image
    settings: Settings
    fixed_mask: sitk.Image | None = None
    moving_mask: sitk.Image | None = None
    initial_transform: sitk.Transform | None = None


def write_job(job: Job, folder: str | Path) -> None:
    """Write a job as a new folder. Raises `OSError` where it cannot be written."""
    with replacing_folder(folder) as part:
        for name in ("fixed", "moving", "fixed_mask", "moving_mask"):
            _write_image(getattr(job, name), part / f"{name}.mha")
        if job.initial_transform is not None:
            _write_transform(job.initial_transform, part / "initial_transform")
        write_settings(job.settings, part)


def read_job(folder: str | Path) -> Job:
    """Read what `write_job` wrote.

    Raises:
        InputError: when the folder is not a whole job.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    fixed, moving = _read_image(folder / "fixed.mha"), _read_image(folder / "moving.mha")
    if fixed is None or moving is None:
        raise InputError(f"The job folder {folder} has no images; start the registration again.")
    fixed_mask, moving_mask = (_read_image(folder / f"{name}.mha") for name in ("fixed_mask", "moving_mask"))
    return Job(fixed, moving, settings, fixed_mask, moving_mask, _read_transform(folder / "initial_transform"))


def write_settings(settings: Settings, folder: str | Path) -> None:
    """Write, or replace, the settings of a job."""
    write_text(Path(folder) / _SETTINGS, _text(settings.plain()))


def read_settings(folder: str | Path) -> Settings:
    """Read the settings of a job. Raises `InputError` when they are missing or of another version of this extension."""
    return _settings(_parsed(*_read_text(Path(folder) / _SETTINGS)))


def write_result(result: Result, folder: str | Path) -> None:
    """Write a result as a new folder; it appears under its name only when it is whole.

    Raises:
        OSError: the folder cannot be written.
    """
    with replacing_folder(folder) as part:
        for name in _FIELDS:
            _write_image(getattr(result, name), part / f"{name}.mha")
        for name, gate in zip(_GATES, result.gates or ()):
            _write_image(gate, part / f"{name}.mha")
        if result.linear is not None and not result.linear.IsLinear():
            _write_transform(result.linear, part / "linear")
        write_text(part / _ABOUT, record(result))


def read_result(folder: str | Path) -> Result:
    """Read what `write_result` wrote.

    Raises:
        InputError: when the folder is not a whole result.
    """
    folder = Path(folder)
    about = read_record(*_read_text(folder / _ABOUT))
    field, inverse, image_field, gradient_field, error = (_read_image(folder / f"{name}.mha") for name in _FIELDS)
    image_gate, gradient_gate = (_read_image(folder / f"{name}.mha") for name in _GATES)
    bent = _read_transform(folder / "linear")
    if field is None:
        raise InputError(f"The result folder {folder} is not complete; start the registration again.")
    gates = None if image_gate is None or gradient_gate is None else (image_gate, gradient_gate)
    if bent is not None:
        about["linear"] = bent
    return Result(
        field, inverse_field=inverse, image_field=image_field, gradient_field=gradient_field, gates=gates,
        expected_error=error, **about,
    )  # fmt: skip


def record(result: Result) -> str:
    """What a result has besides images, as text: settings, quality figures, seconds, versions.

    With them goes the linear part, if it is linear: with an initial transform that is a field it is not.
    """
    about = {name: getattr(result, name) for name in _RECORDED}
    return _text({"settings": result.settings.plain(), "linear": _matrix(result.linear), **about})


def read_record(text: str, name: str) -> dict:
    """What `record` put into a text, by the names of `Result`.

    Args:
        name: what the text is from, for the error.

    Raises:
        InputError: it is no such text, or of another version of this extension.
    """
    values = _parsed(text, name)
    if not all(isinstance(values.get(part), dict) for part in ("settings", *_RECORDED)):
        raise InputError(f"{name} is not complete; start the registration again.")
    return {
        "settings": _settings(values["settings"]),
        "linear": _affine(values.get("linear"), name),
        **{part: values[part] for part in _RECORDED},
    }


def _write_image(image: sitk.Image | None, path: Path) -> None:
    if image is not None:
        try:
            sitk.WriteImage(image, str(path), useCompression=False)
        except RuntimeError as error:
            raise OSError(f"{path} cannot be written: {reason(error)}; make room.") from None


def _read_image(path: Path) -> sitk.Image | None:
    if not path.is_file():
        return None
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError:
        raise InputError(f"The file {path} is damaged; start the registration again.") from None


def _write_transform(transform: sitk.Transform, path: Path) -> None:
    """Text for a few numbers (exact), HDF5 for a field."""
    sitk.WriteTransform(transform, str(path.with_suffix(".tfm" if transform.IsLinear() else ".h5")))


def _read_transform(path: Path) -> sitk.Transform | None:
    text, binary = path.with_suffix(".tfm"), path.with_suffix(".h5")
    try:
        if text.is_file():
            check_transform_text(text, "transform")
            return sitk.ReadTransform(str(text))
        return sitk.ReadTransform(str(binary)) if binary.is_file() else None
    except RuntimeError:
        raise InputError(f"The transform {path} is damaged; start the registration again.") from None


def _read_text(path: Path) -> tuple[str, str]:
    """The content of a file, and what to call the file in an error."""
    name = f"The file {path}"
    try:
        return path.read_text(encoding="utf-8"), name
    except (OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read ({error}); start the registration again.") from None


def _text(values: dict) -> str:
    return json.dumps({"format": _FORMAT, **values}, indent=2)


def _parsed(text: str, name: str) -> dict:
    """The values of a `_text`."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} cannot be read ({error}); start the registration again.") from None
    if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
        raise InputError(f"{name} is of another version of this extension; start the registration again.")
    return values


def _matrix(transform: sitk.Transform | None) -> list[float] | None:
    """The (3, 4) matrix of a linear point transform (LPS mm), row by row; None for another, or none."""
    if transform is None or not transform.IsLinear():
        return None
    return linear_matrix(transform).ravel().tolist()


def _affine(values: object, name: str) -> sitk.AffineTransform | None:
    if values is None:
        return None
    try:
        matrix = np.array(values, float).reshape(3, 4)
    except (TypeError, ValueError):
        raise InputError(f"{name} has a linear part that is none; start the registration again.") from None
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(matrix[:, :3].ravel().tolist())
    affine.SetTranslation(matrix[:, 3].tolist())
    return affine


def _settings(values: dict) -> Settings:
    if isinstance(values.get("weights"), str):
        values["weights"] = Path(values["weights"])
    try:
        return Settings(**values)
    except TypeError as error:
        raise InputError(
            f"The settings have an unknown entry ({str(error)[:200]}); start the registration again."
        ) from None
