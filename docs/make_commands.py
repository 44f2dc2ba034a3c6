"""Write `commands.md` from what the scripts say of themselves: python docs/make_commands.py"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
SCRIPTS = DOCS.parent / "GradientGuidedRegistration" / "Scripts"
INTRODUCTION = """# Command reference

What `--help` says, written by `docs/make_commands.py`. Each script runs on plain Python and as
`Slicer --no-splash --no-main-window --python-script SCRIPT ARGUMENTS`. Exit status: 0 done, 2 bad input (one line on
stderr says which, and what to do), 130 interrupted, 1 anything else.
"""


def help_of(script: str) -> str:
    """The help text of a script, 100 columns wide, without the width's or the Python version's influence."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHON_COLORS": "0"}
    command = [sys.executable, str(SCRIPTS / script), "--help"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=True).stdout


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for script in ("register.py", "train.py", "evaluate.py", "phantom.py"):
        parts.append(f"\n## {script}\n\n```text\n{help_of(script).rstrip()}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    (DOCS / "commands.md").write_text(page(), encoding="utf-8")
