"""What is fed with damaged input, and what may come of it: an answer that makes sense, or one clear sentence.

Each target has seeds (whole inputs) and a judge that reads one input and raises if a promise is broken.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

MODULE_FOLDER = Path(__file__).resolve().parents[2] / "GradientGuidedRegistration"
if str(MODULE_FOLDER) not in sys.path:
    sys.path.insert(0, str(MODULE_FOLDER))

from GradientGuidedRegistrationLib.errors import InputError  # noqa: E402

CANARY = "GGR_FUZZ_CANARY"  # environment variable: a file that code from an input would make


@dataclass(frozen=True)
class Target:
    """One entrance of the program. `judge(folder, data)` may write into `folder`."""

    seeds: Callable[[Path], list[bytes]]
    judge: Callable[[Path, bytes], None]


def refused(action: Callable[[], object]) -> object:
    """What the action returns, or None after one clear sentence."""
    try:
        return action()
    except InputError as error:
        message = str(error)
        assert 10 < len(message) < 3000 and "Traceback" not in message, message[:300]
        return None


def _blob(dtype: type = np.int16) -> sitk.Image:
    k, j, i = np.indices((17, 18, 19))
    image = sitk.GetImageFromArray((100 * ((i - 9) ** 2 + (j - 9) ** 2 + (k - 8) ** 2 < 30) + i).astype(dtype))
    image.SetSpacing((3.0, 3.5, 4.0))
    image.SetOrigin((-20.0, 10.0, 5.0))
    image.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    return image


def _image_seeds(suffix: str) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        found = []
        for number, (dtype, compress) in enumerate(((np.int16, False), (np.float32, True), (np.uint8, True))):
            path = folder / f"seed{number}{suffix}"
            sitk.WriteImage(_blob(dtype), str(path), useCompression=compress)
            found.append(path.read_bytes())
            path.unlink()
        return found

    return seeds


def _image_judge(suffix: str) -> Callable[[Path, bytes], None]:
    def judge(folder: Path, data: bytes) -> None:
        from GradientGuidedRegistrationLib.registration.files import check_content, read_image, read_labels

        path = folder / f"input{suffix}"
        path.write_bytes(data)
        image = refused(lambda: read_image(path, "fixed image"))
        if image is not None:
            assert image.GetDimension() == 3 and np.isfinite(sitk.GetArrayViewFromImage(image)).all()
            refused(lambda: check_content(image, "fixed image"))
        labels = refused(lambda: read_labels(path, "segmentation"))
        assert labels is None or labels.GetPixelID() == sitk.sitkUInt16

    return judge


def _register_judge(folder: Path, data: bytes) -> None:
    """The whole way: one damaged image and one good one, from files to files."""
    from GradientGuidedRegistrationLib import job
    from GradientGuidedRegistrationLib.registration.settings import Settings

    fixed, moving, out = folder / "input.nii", folder / "good.nii", folder / "t.nrrd"
    fixed.write_bytes(data)
    if not moving.exists():
        sitk.WriteImage(_blob(), str(moving))
    settings = Settings(refine=1, use_network=False)
    try:
        refused(lambda: job.run(job.Request(fixed=fixed, moving=moving, transform=out, settings=settings)))
    except Exception as error:
        from GradientGuidedRegistrationLib.errors import is_memory_error

        if not is_memory_error(error):
            raise
    if out.exists():
        assert np.isfinite(sitk.GetArrayFromImage(sitk.ReadImage(str(out)))).all()
        out.unlink()


def _transform_seeds(folder: Path) -> list[bytes]:
    found = []
    field = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(6, 7, 8, 3)), isVector=True)
    for suffix, transform in ((".tfm", sitk.Euler3DTransform()), (".h5", sitk.DisplacementFieldTransform(field)),
                              (".h5", sitk.AffineTransform(3))):  # fmt: skip
        path = folder / f"seed{suffix}"
        sitk.WriteTransform(transform, str(path))
        found.append(path.read_bytes())
        path.unlink()
    return found


def _transform_judge(folder: Path, data: bytes) -> None:
    from GradientGuidedRegistrationLib.registration.files import read_transform

    path = folder / ("input.h5" if data[:4] == b"\x89HDF" else "input.tfm")
    path.write_bytes(data)
    transform = refused(lambda: read_transform(path, "initial transform"))
    if transform is not None:
        assert transform.GetDimension() == 3
        transform.TransformPoint((1.0, 2.0, 3.0))


class _Attack:
    """Makes the canary when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, (f'touch "${CANARY}"',)


def _weights_seeds(folder: Path) -> list[bytes]:
    import torch

    from GradientGuidedRegistrationLib.model import build_network, save_weights

    path = folder / "seed.pt"
    save_weights(build_network("vm"), path, {"steps": 1})
    content = torch.load(path, weights_only=True)
    found = [path.read_bytes()]
    for key, value in (("state", _Attack()), ("metadata", {"a": _Attack()}), ("options", {"backbone": "x" * 100}),
                       ("network", "os.system"), ("version", "1"), ("options", {"image_channels": 10**9})):  # fmt: skip
        buffer = io.BytesIO()
        torch.save({**content, key: value}, buffer)
        found.append(buffer.getvalue())
    return [*found, pickle.dumps(_Attack()), pickle.dumps({"format": _Attack()}, protocol=4)]


def _weights_judge(folder: Path, data: bytes) -> None:
    from GradientGuidedRegistrationLib.model import describe, load_weights

    path = folder / "input.pt"
    path.write_bytes(data)
    network = refused(lambda: load_weights(path))
    if network is not None:
        assert sum(parameter.numel() for parameter in network.parameters()) < 10_000_000
    refused(lambda: str(describe(path)))


_TABLES = [
    b"name,fixed,moving\na,mr.nii,ct.nii\nb,mr.nii,ct.nii\n",
    b"fixed,moving,fixed_labels,moving_labels,split,name\nmr.nii,ct.nii,,,training,a\nmr.nii,ct.nii,,,test,b\n",
    b'\xef\xbb\xbfname,fixed,moving,fixed_mask\r\n"a, b",mr.nii,ct.nii,mr.nii\r\n',
    b"name,fixed,moving\n../up,mr.nii,ct.nii\n/abs,mr.nii,ct.nii\n",
    b"name,fixed,moving\nCON\x00,mr.nii,ct.nii\n..,mr.nii,ct.nii\n",
]


def _table_judge(folder: Path, data: bytes) -> None:
    """Both tables: the cases of register.py, whose outputs stay in their folder, and those of training."""
    import importlib.util

    from GradientGuidedRegistrationLib.training.case_table import SPLITS, read_cases

    script = sys.modules.get("register_script")
    if script is None:
        path = MODULE_FOLDER / "Scripts" / "register.py"
        spec = importlib.util.spec_from_file_location("register_script", path)
        assert spec is not None and spec.loader is not None
        script = sys.modules["register_script"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
    for name in ("mr.nii", "ct.nii"):
        (folder / name).touch()
    table = folder / "input.csv"
    table.write_bytes(data)
    options = script.parse_arguments(["--batch", str(table), "--transform", str(folder / "out" / "{name}" / "t.h5")])
    cases, _wrong = refused(lambda: script._cases(table, options)) or ({}, [])
    for values in cases.values():
        out = Path(values["transform"]).resolve()
        assert out.parent.parent == (folder / "out").resolve(), f"{out} is outside"
    for case in refused(lambda: read_cases(table)) or []:
        assert case.split in SPLITS and case.fixed.exists() and case.moving.exists()


_REQUESTS = [
    json.dumps({"task": "phantom", "parent": None, "options": {"shape": [16, 16, 16], "kind": "shapes"}}).encode(),
    json.dumps({"task": "register", "parent": 1}).encode(),
    json.dumps({"task": "probe"}).encode(),
    json.dumps({"task": "phantom", "options": {"shape": [10**6] * 3}}).encode(),
    json.dumps({"task": "phantom", "options": {"device": "cuda", "geometry": "../../x"}}).encode(),
    json.dumps({"task": "__import__('os').system('x')", "parent": "0"}).encode(),
    b"[" * 50_000,
]


def _request_judge(folder: Path, data: bytes) -> None:
    from GradientGuidedRegistrationLib import worker

    job = folder / "job"
    job.mkdir(exist_ok=True)
    (job / worker.REQUEST).write_bytes(data)
    before = set(folder.rglob("*"))
    stream, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(errors):
        task = refused(lambda: worker.Task(job, worker.Events(stream)))
        if task is None:
            return
        worker.run(task)
    last = json.loads(stream.getvalue().splitlines()[-1])
    assert last["event"] in ("finished", "failed", "cancelled")
    assert "Traceback" not in errors.getvalue(), errors.getvalue()
    new = set(folder.rglob("*")) - before
    assert all(path.is_relative_to(job / worker.RESULT) for path in new), new


def _settings_seeds(folder: Path) -> list[bytes]:
    from GradientGuidedRegistrationLib.registration import Settings
    from GradientGuidedRegistrationLib.registration.storage import write_settings

    write_settings(Settings(refine=1, use_network=False), folder)
    whole = (folder / "settings.json").read_bytes()
    values = json.loads(whole)
    odd = ({"refine": "many"}, {"spacing": [2]}, {"seed": -1}, {"weights": 7}, {"use_network": "no"}, {"device": []},
           {"weights": "/etc/passwd"}, {"method": {"a": 1}}, {"refine": 1e300}, {"inverse": None})  # fmt: skip
    return [whole, *(json.dumps({**values, **one}).encode() for one in odd)]


def _settings_judge(folder: Path, data: bytes) -> None:
    """The settings of a job, and the names of labels: JSON that people may edit."""
    from GradientGuidedRegistrationLib.job import read_names
    from GradientGuidedRegistrationLib.registration.models import weights_file
    from GradientGuidedRegistrationLib.registration.storage import read_settings

    (folder / "settings.json").write_bytes(data)
    settings = refused(lambda: read_settings(folder))
    if settings is not None:
        refused(lambda: weights_file(settings))
        assert type(settings.seed) is int and type(settings.use_network) is bool
    refused(lambda: read_names(folder / "settings.json"))


TARGETS: dict[str, Target] = {
    **{f"image{suffix}": Target(_image_seeds(suffix), _image_judge(suffix))
       for suffix in (".nii", ".nii.gz", ".nrrd", ".mha")},
    "register": Target(_image_seeds(".nii"), _register_judge),
    "transform": Target(_transform_seeds, _transform_judge),
    "weights": Target(_weights_seeds, _weights_judge),
    "table": Target(lambda folder: _TABLES, _table_judge),
    "request": Target(lambda folder: _REQUESTS, _request_judge),
    "settings": Target(_settings_seeds, _settings_judge),
}  # fmt: skip
