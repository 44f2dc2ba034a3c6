"""A registration on disk: what goes into it and what comes out of it, each a folder that is whole or not there.

So that it can be done in another process. Images are stored uncompressed (a scratch folder, read once).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError
from ..whole_files import replacing_folder, write_text
from .files import reason
from .headers import check_transform_text
from .result import Result
from .settings import Settings

_FORMAT = 1
_SETTINGS = "settings.json"
_ABOUT = "result.json"
_FIELDS = ("field", "inverse_field", "image_field", "gradient_field", "expected_error")
_GATES = ("image_gate", "gradient_gate")


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
    values = asdict(settings)
    values["weights"] = None if settings.weights is None else str(settings.weights)
    write_text(Path(folder) / _SETTINGS, json.dumps({"format": _FORMAT, **values}, indent=2))


def read_settings(folder: str | Path) -> Settings:
    """Read the settings of a job. Raises `InputError` when they are missing or of another version of this extension."""
    return _settings(_read_json(Path(folder) / _SETTINGS))


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
        _write_transform(result.linear, part / "linear")
        write_settings(result.settings, part)
        about = {name: getattr(result, name) for name in ("quality", "timings", "versions")}
        write_text(part / _ABOUT, json.dumps({"format": _FORMAT, **about}, indent=2))


def read_result(folder: str | Path) -> Result:
    """Read what `write_result` wrote.

    Raises:
        InputError: when the folder is not a whole result.
    """
    folder = Path(folder)
    about = _read_json(folder / _ABOUT)
    del about["format"]
    field, inverse, image_field, gradient_field, error = (_read_image(folder / f"{name}.mha") for name in _FIELDS)
    image_gate, gradient_gate = (_read_image(folder / f"{name}.mha") for name in _GATES)
    linear = _read_transform(folder / "linear")
    if field is None or linear is None:
        raise InputError(f"The result folder {folder} is not complete; start the registration again.")
    gates = None if image_gate is None or gradient_gate is None else (image_gate, gradient_gate)
    settings = read_settings(folder)
    return Result(field, linear, settings, inverse, image_field, gradient_field, gates, error, **about)


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


def _read_json(path: Path) -> dict:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"The file {path} cannot be read ({error}); start the registration again.") from None
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise InputError(f"The file {path} is of another version of this extension; start the registration again.")
    return values


def _settings(values: dict) -> Settings:
    values = {name: value for name, value in values.items() if name != "format"}
    if isinstance(values.get("weights"), str):
        values["weights"] = Path(values["weights"])
    try:
        return Settings(**values)
    except TypeError as error:
        raise InputError(
            f"The settings have an unknown entry ({str(error)[:200]}); start the registration again."
        ) from None
