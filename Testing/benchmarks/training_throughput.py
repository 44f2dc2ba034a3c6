"""How fast training goes here: steps a second, the share of time spent waiting for data, memory.

    python Testing/benchmarks/training_throughput.py --shape 144 144 128 --steps 20
    torchrun --nproc_per_node=2 Testing/benchmarks/training_throughput.py   # scaling of two processes

Prints one JSON line. The first steps, which set the device up, are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "GradientGuidedRegistration"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(144, 144, 128))
    parser.add_argument("--method", default="gated")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--reuse", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--device", default="auto")
    options = vars(parser.parse_args())

    import torch

    from GradientGuidedRegistrationLib.training import TrainingSettings, distributed
    from GradientGuidedRegistrationLib.training.trainer import Trainer

    processes = distributed.start(options["device"])
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    warm_up = 3
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingSettings(
            output=folder,
            **{**options, "steps": options["steps"] + warm_up},
            validation_cases=0,
            validate_every=10**6,
            checkpoint_every=10**6,
        )
        trainer = Trainer(settings, processes, bar=False)

        def stamp(step: str, fraction: float) -> None:
            if processes.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter())

        result = trainer.run(stamp)
    if processes.leads:
        seconds = times[-1] - times[warm_up - 1]
        if processes.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated() / 2**30
        else:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({
            **options, "device": str(processes.device), "processes": processes.world, "cores": os.cpu_count(),
            "steps_per_second": round(options["steps"] / seconds, 4),
            "pairs_per_second": round(options["steps"] * options["batch"] * processes.world / seconds, 4),
            "waiting_percent": round(100 * result.waiting, 1), "memory_gib": round(memory, 2),
        }))  # fmt: skip
    processes.close()


if __name__ == "__main__":
    main()
