"""Run a comparison: every method on every case."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import InputError
from ...registration.device import pick_device
from ...registration.files import check_output
from .cases import cases, count, split_note
from .measure import measure
from .methods import ROWS, Unavailable, without_weights
from .settings import EvaluationSettings
from .table import Table


def evaluate(settings: EvaluationSettings, progress: Callable[[str, float], None] | None = None) -> Table:
    """Compute Table 1 and write it to `settings.output` after each case, so that an interruption loses one case.

    Args:
        settings: what to compare, and where to write.
        progress: called as progress("<case>: <method>", fraction); may raise `Cancelled`.

    Raises:
        InputError: bad data or settings, an output folder that cannot be written, or no row that can be computed;
            nothing is written then.
    """
    pick_device(settings.device)
    check_output(settings.output / "table.txt", "table")
    chosen = [name for name in ROWS if not settings.rows or name in settings.rows]
    missing = without_weights(chosen, settings)
    total = count(settings) * len(chosen)
    note = split_note(settings)
    measures: dict[str, list[dict]] = {name: [] for name in chosen}
    done, table = 0, None
    label_names: dict[int, str] = {}
    for pair in cases(settings):
        for name in chosen:
            if progress is not None:
                progress(f"{pair.name}: {name}", done / total)
            done += 1
            if name in missing:
                continue
            try:
                outcome = ROWS[name](pair, settings)
            except Unavailable as reason:
                missing[name] = str(reason)
                continue
            blank = {"folding_percent": None, "tre_mm": None, "seconds": None, "used": None}
            measures[name] += [{"method": name, "case": pair.name, **blank, **row} for row in measure(pair, outcome)]
        rows = [row for name in chosen for row in measures[name]]
        if not rows:
            raise InputError(f"No row can be computed: {'; '.join(f'{n}: {why}' for n, why in missing.items())}.")
        label_names |= pair.label_names
        names = [label_names[value] for value in sorted(label_names)]
        unknown = {organ: "no case has such a label" for organ in settings.organ_columns if organ not in names}
        organs = [organ for organ in settings.organ_columns if organ in names] or names
        table = Table(rows, organs, missing | unknown, [note] if note else [])
        table.write(settings.output)
    assert table is not None
    return table
