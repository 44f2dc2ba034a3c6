"""Training and comparison of the networks: phantoms, own files, trainer, checkpoints, the paper's Table 1.

    from GradientGuidedRegistrationLib.training import TrainingSettings, train
    train(TrainingSettings(output="run", method="gated"))

Names are loaded on first use. Training on phantoms needs torch and numpy only; own files are read with SimpleITK.
"""

from __future__ import annotations

from importlib import import_module

_HOME = {
    "TrainingSettings": "settings",
    "TrainingResult": "trainer",
    "train": "trainer",
    "EvaluationSettings": "comparison.settings",
    "evaluate": "comparison.run",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
