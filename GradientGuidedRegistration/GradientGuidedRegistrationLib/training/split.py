"""Which own pairs a training learns from and which judge it: told at its start, and kept with the run as a table."""

from __future__ import annotations

import csv
import io
import os.path
from collections.abc import Sequence
from pathlib import Path

from ..whole_files import write_bytes
from .case_table import COLUMNS, SPLITS, CaseFiles
from .log import say

_COLUMNS = (*COLUMNS, "fixed_labels", "moving_labels", "split", "name")
_MOST_NAMED = 5


def listed(cases: Sequence[CaseFiles]) -> str:
    """How many pairs there are, and the names of the first: "7 pairs (a, b, c, d, e, …)"."""
    names = [f"{case.name:.60}" for case in cases[:_MOST_NAMED]] + ["…"] * (len(cases) > _MOST_NAMED)
    return f"{len(cases)} pair{'s' * (len(cases) != 1)} ({', '.join(names)})"


def tell_split(data: Path, cases: Sequence[CaseFiles]) -> None:
    """Say what each pair is for, and what follows where none is for validation."""
    training, validation, test = ([case for case in cases if case.split == split] for split in SPLITS)
    judges = listed(validation) if validation else "the same"
    alone = f"; left alone for test: {listed(test)}" if test else ""
    say(f"Training on {listed(training)}, validating on {judges}{alone}.")
    if not validation:
        say(
            f"Warning: {data} has no pair for validation, so that the best weights cannot be told by one: best.pt will "
            "be those with the best figures on the training pairs. Give some pairs the split 'validation'."
        )


def write_pairs(cases: Sequence[CaseFiles], path: Path) -> None:
    """Write the pairs with their splits as a table that `read_cases` reads from anywhere: paths are absolute.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for case in cases:
        files = (case.fixed, case.moving, case.fixed_labels, case.moving_labels)
        writer.writerow([*("" if file is None else os.path.abspath(file) for file in files), case.split, case.name])
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))
