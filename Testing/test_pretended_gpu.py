"""Registration and training on a GPU, where there is none: no tensor is left on the wrong device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GUARD = """
import torch
from pretended_gpu import pretended_gpu

with pretended_gpu():
    there = torch.arange(3.0).to("cuda")
    assert there.device == (there + 1).device != torch.device("cpu")
    for misstep in (lambda: there + torch.ones(3), lambda: there.numpy(), lambda: torch.ones(3).mul_(there)):
        try:
            misstep()
        except (RuntimeError, TypeError):
            continue
        raise AssertionError("not noticed")
    assert (there * 2).cpu().numpy().tolist() == [0, 2, 4] and there.sum().item() == 3
"""

REGISTRATION = """
import numpy as np, SimpleITK as sitk
from pretended_gpu import pretended_gpu
from GradientGuidedRegistrationLib.registration import Settings, register
from GradientGuidedRegistrationLib.training.phantom import phantom_images

images = phantom_images(46, shape=(56, 60, 60), spacing=3.0)
body = images["fixed_labels"] > 0
truth = sitk.GetArrayFromImage(images["field"])
for values in ({"refine": 0}, {"inverse": True}):
    here = register(images["fixed"], images["moving"], Settings(device="cpu", **values), moving_mask=body)
    with pretended_gpu():
        there = register(images["fixed"], images["moving"], Settings(device="cuda", **values), moving_mask=body)
    assert there.settings.device == "cuda" and there.quality["verdict"] == here.quality["verdict"]
    fields = [sitk.GetArrayFromImage(sitk.Resample(found.field, images["fixed"])) for found in (here, there)]
    ours, theirs = (
        np.linalg.norm(field - truth, axis=-1)[sitk.GetArrayFromImage(body) > 0].mean() for field in fields
    )
    # The refinement reads images by other functions there, whose rounding leads it along a path of its own.
    assert theirs < 1.05 * ours < 4, (ours, theirs)
    if values.get("refine") == 0:
        np.testing.assert_allclose(*fields, atol=0.001)
"""

TRAINING = """
import sys
from pathlib import Path
from pretended_gpu import pretended_gpu
from GradientGuidedRegistrationLib.training import train
from GradientGuidedRegistrationLib.training.settings import with_preset

small = {"shape": (32, 32, 32), "validation_shape": (32, 32, 32), "validation_cases": 1, "zoom": (1.0, 1.2)}
with pretended_gpu():
    for steps in (1, 2):
        settings = with_preset(
            output=Path(sys.argv[1]) / "run", preset="cpu", device="cuda", schedule="constant",
            steps=steps, resume=steps == 2, **small,
        )
        result = train(settings)
        assert result.steps == steps and result.weights.is_file()
"""

# Phantoms are made on the device, own pairs are read from files: a batch may hold both.
OWN_PAIRS = """
import sys
from pathlib import Path
import SimpleITK as sitk
from pretended_gpu import pretended_gpu
from GradientGuidedRegistrationLib.training import train
from GradientGuidedRegistrationLib.training.phantom import phantom_images
from GradientGuidedRegistrationLib.training.settings import with_preset

folder = Path(sys.argv[1])
for number in range(2):
    (folder / "data" / str(number)).mkdir(parents=True)
    images = phantom_images(number, shape=(32, 32, 32), spacing=4.0)
    for name in ("fixed", "moving"):
        sitk.WriteImage(images[name], str(folder / "data" / str(number) / f"{name}.nii.gz"))
with pretended_gpu():
    settings = with_preset(
        output=folder / "run", preset="cpu", data=folder / "data", phantom_fraction=0.5, batch=4, steps=2,
        shape=(32, 32, 32), spacing=4.0, zoom=(1.0, 1.2), method="vm", device="cuda",
    )
    assert train(settings).steps == 2
"""

# Losses of several steps are read at once there: at a time limit those since the last look are read before the end.
TIME_LIMIT = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from pretended_gpu import pretended_gpu
from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.training import TrainingSettings, train
from GradientGuidedRegistrationLib.training.phantoms import PhantomSource

def run(name):
    settings = TrainingSettings(
        Path(sys.argv[1]) / name, method="vm", shape=(32, 32, 32), device="cuda", steps=1000, validation_cases=0,
        time_limit=1e-4,
    )
    assert train(settings).steps == 1
    return settings.output

with pretended_gpu():
    table = (run("good") / "losses.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in table] == ["step", "1"], table
    made = PhantomSource.__call__

    def broken(self, number):
        case = made(self, number)
        return replace(case, fixed_mask=case.fixed_mask * float("nan")) if self.shape == (32, 32, 32) else case

    PhantomSource.__call__ = broken
    try:
        run("bad")
    except InputError as error:
        assert "The loss is not finite at step 1 (case phantom " in str(error), error
    else:
        raise AssertionError("not looked at")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [GUARD, REGISTRATION, TRAINING, OWN_PAIRS, TIME_LIMIT],
    ids=["guard", "registration", "training", "own pairs", "time limit"],
)
def test_on_a_gpu(code: str, repository: Path, tmp_path: Path) -> None:
    """In a process of its own: PyTorch keeps a device that was once made known."""
    folders = [str(repository / "Testing"), str(repository / "GradientGuidedRegistration")]
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-4000:]
