"""Training and comparison of the networks: phantoms, own files, trainer, checkpoints, the paper's Table 1.

    from GradientGuidedRegistrationLib.training import TrainingSettings, train
    train(TrainingSettings(output="run", method="gated"))

Names are loaded on first use. Training on phantoms needs torch and numpy only; own files are read with SimpleITK.
"""

from __future__ import annotations

from ..lazy_names import loader

_HOME = {
    "TrainingSettings": "settings",
    "TrainingResult": "trainer",
    "train": "trainer",
    "EvaluationSettings": "comparison.settings",
    "evaluate": "comparison.run",
}

__all__ = sorted(_HOME)

__getattr__ = loader(__name__, _HOME)
