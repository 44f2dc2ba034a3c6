"""One registration by this extension in a process of its own: run_ours.py CASE METHOD THREADS DEVICE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "GradientGuidedRegistration"))

import SimpleITK as sitk
import torch
from case_folder import CaseFolder, field_of
from clock import peak_memory_mb, since_start, timed

from GradientGuidedRegistrationLib.registration import Settings, pipeline

SETTINGS = {
    "linear": {"use_network": False, "refine": 0},
    "ours": {},
    "ours fast": {"refine": 0},
    "ours no network": {"use_network": False},
}


def main() -> None:
    case, method, threads, device = CaseFolder(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    fixed, moving = case.image("fixed"), case.image("moving")
    settings = Settings(device=device, **SETTINGS[method])
    imports = since_start()
    result, times = timed(lambda: pipeline.register(fixed, moving, settings))
    memory = peak_memory_mb()
    folder = case.method(method)
    sitk.WriteImage(field_of(result.transform, case.image("grid")), str(folder / "field.mha"))
    if method == "linear":
        sitk.WriteTransform(result.linear, str(folder / "linear.tfm"))
    about = {**times, "import_seconds": imports, "peak_memory_mb": memory, "steps": result.timings}
    (folder / "run.json").write_text(json.dumps({**about, "quality": result.quality}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
