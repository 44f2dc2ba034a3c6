"""Tables that people write: CSV with a header, read whole or refused in one sentence."""

from __future__ import annotations

import csv
from pathlib import Path

from .errors import InputError

Row = dict[str | None, str | None]
_SEPARATORS = {";": "semicolons", "\t": "tabs"}  # of spreadsheets, by the language that they run in


def read_rows(path: Path, what: str) -> tuple[list[str], list[tuple[int, Row]]]:
    """Return the column names of a CSV file in UTF-8, and each row with the number of the line in which it ends.

    Texts are as they are, a missing cell is None. Cells beyond the header are under the key None, joined. Lines without
    anything in them but commas are passed over, and so are columns without a name whose cells are all empty.

    Args:
        what: names the file in messages ("table of cases").

    Raises:
        InputError: it cannot be read, is no text or no CSV, is separated by something else than commas, names a column
            twice, or has cells in one without a name.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except OSError as error:
        raise InputError(f"The {what} {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"The {what} {path} is not UTF-8 text; save it as CSV (UTF-8).") from None
    except csv.Error as error:
        raise InputError(f"The {what} {path} is no CSV table: {error}; save it as CSV (UTF-8).") from None
    if any("\0" in text for _, cells in lines for text in cells):
        raise InputError(f"The {what} {path} holds NUL characters: it is no text; save it as CSV (UTF-8).")
    for separator, what_it_is in _SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            raise InputError(f"The {what} {path} is separated by {what_it_is}; save it as CSV with commas.")
    for place, name in enumerate(header):
        filled = [number for number, cells in lines if not name and "".join(cells[place : place + 1]).strip()]
        if filled:
            raise InputError(
                f"The {what} {path} has no name for column {place + 1}, in which there is something in line "
                f"{filled[0]}; name the column, or empty it."
            )
    columns = [name for name in header if name]
    if len(set(columns)) < len(columns):
        raise InputError(f"The {what} {path} has two columns of one name ({', '.join(columns)[:500]}).")
    return columns, [(number, _row(header, cells)) for number, cells in lines]


def _row(header: list[str], cells: list[str]) -> Row:
    row: Row = {name: cells[place] if place < len(cells) else None for place, name in enumerate(header) if name}
    return row if len(cells) <= len(header) else row | {None: "".join(cells[len(header) :])}
