"""Tables that people write: CSV with a header, read whole or refused in one sentence."""

from __future__ import annotations

import csv
from pathlib import Path

from .errors import InputError


def read_rows(path: Path, what: str) -> tuple[list[str], list[dict[str | None, str | None]]]:
    """Return the column names and the rows of a CSV file in UTF-8, the texts as they are, a missing cell as None.

    Cells beyond the header are under the key None, joined.

    Args:
        what: names the file in messages ("table of cases").

    Raises:
        InputError: it cannot be read, is no text or no CSV, or names a column twice.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [{name: "".join(text) if name is None else text for name, text in row.items()} for row in reader]
    except OSError as error:
        raise InputError(f"The {what} {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"The {what} {path} is not UTF-8 text; save it as CSV (UTF-8).") from None
    except csv.Error as error:
        raise InputError(f"The {what} {path} is no CSV table: {error}; save it as CSV (UTF-8).") from None
    if len(set(columns)) < len(columns):
        raise InputError(f"The {what} {path} has two columns of one name ({', '.join(columns)[:500]}).")
    if any("\0" in (text or "") for row in rows for text in row.values()):
        raise InputError(f"The {what} {path} holds NUL characters: it is no text; save it as CSV (UTF-8).")
    return columns, rows
