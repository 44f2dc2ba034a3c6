"""Learning rate as a function of the step."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, peak: float, schedule: str) -> float:
    """Learning rate of a step (from 0): constant, or a short linear warm-up and a cosine down to 2 % of the peak."""
    if schedule == "constant":
        return peak
    warm_up = max(1, round(0.02 * steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return peak * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))))
