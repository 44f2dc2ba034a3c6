"""One process of the fuzzing: reads seeds from its input, says for each how it went.

python child.py FOLDER TARGET    lines on stdin: numbers; lines on stdout: {"seed", "failure"}
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.mutate import mutated
from fuzz.targets import CANARY, TARGETS

_ADDRESS_SPACE = 8 << 30


def main(folder: Path, name: str) -> None:
    import SimpleITK as sitk

    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    channel = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print
    target, canary = TARGETS[name], folder / "canary"
    os.environ[CANARY] = str(canary)
    seeds = target.seeds(folder)
    for line in sys.stdin:
        number = int(line)
        whole = seeds[number % len(seeds)]
        data = whole if number < len(seeds) else mutated(whole, number)
        failure = None
        try:
            target.judge(folder, data)
            assert not canary.exists(), "code from the input was run"
        except BaseException:
            failure = traceback.format_exc()
            canary.unlink(missing_ok=True)
        channel.write(json.dumps({"seed": number, "failure": failure}) + "\n")
        channel.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
