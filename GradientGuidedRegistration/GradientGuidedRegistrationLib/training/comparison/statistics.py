"""Mean, standard deviation and a paired test without a statistics package."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Sequence

Value = float | None


def mean_and_sd(values: Sequence[Value]) -> tuple[float, float | None] | None:
    """Mean and sample standard deviation (None for a single value) of what is known; None for nothing."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None


def paired_p_value(first: Sequence[Value], second: Sequence[Value], draws: int = 20_000) -> float | None:
    """Two-sided p of the sign-flip permutation test on paired values: could the differences as well be the other way?

    Exact up to 14 pairs, by `draws` random flips of fixed seed above. None with fewer than two pairs. The smallest
    possible value with n pairs is 2 / 2**n.
    """
    differences = [a - b for a, b in zip(first, second) if a is not None and b is not None]
    if len(differences) < 2:
        return None
    seen = abs(sum(differences)) - 1e-12 * sum(map(abs, differences))
    if len(differences) <= 14:
        flips = list(itertools.product((1, -1), repeat=len(differences)))
        extreme = sum(abs(sum(s * d for s, d in zip(signs, differences))) >= seen for signs in flips)
        return extreme / len(flips)
    source = random.Random(0)
    extreme = sum(abs(sum(d if source.random() < 0.5 else -d for d in differences)) >= seen for _ in range(draws))
    return (extreme + 1) / (draws + 1)
