"""Speed and memory of the model against the same things as they are usually written in PyTorch.

    python Testing/benchmarks/model_speed.py [--size 144 144 128] [--device cuda] [--threads 1] [--network gated]

Both sides of a comparison run in turn, in one process, with the same weights and images; the table gives the shortest
of the runs, the ratio, and the relative difference (L2) of the results. Time is that of the wall, and on the CPU also
that of the processor, which says more on a machine that others use. Peak memory is that of one run in a fresh process,
above what the process held before. Needs convexAdam.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "GradientGuidedRegistration"))

from model_plain import plain_mind_ssc, plain_network, plain_smoothness, plain_warp

from GradientGuidedRegistrationLib.model import (
    RegistrationLoss,
    build_network,
    gradient_magnitude,
    mind_ssc,
    warp,
)

Variant = Callable[[], Tensor]


class Cases:
    """The comparisons; each method returns the plain way and ours, and each of these a tensor to compare."""

    def __init__(self, size: tuple[int, int, int], device: str, network: str) -> None:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(2, 1, *(max(n // 8, 2) for n in size), generator=generator)
        noise = torch.rand(2, 1, *size, generator=generator)
        images = 0.8 * F.interpolate(coarse, size=size, mode="trilinear") + 0.2 * noise
        self.moving, self.fixed = images.to(device).split(1)
        self.field = 6 * (
            F.interpolate(torch.rand(1, 3, 6, 6, 6, generator=generator), size=size, mode="trilinear") - 0.5
        )
        self.field = self.field.to(device)
        torch.manual_seed(0)
        self.network = build_network(network)
        for name, parameter in self.network.named_parameters():
            if name.endswith("flow.weight"):
                torch.nn.init.normal_(parameter, std=0.02)
        self.network.to(device)

    def forward(self) -> tuple[Variant, Variant]:
        """The network without derivatives."""

        def run(predict) -> Tensor:
            with torch.no_grad():
                return predict(self.moving, self.fixed).displacement

        return lambda: run(lambda *pair: plain_network(self.network, *pair)), lambda: run(self.network)

    def training(self) -> tuple[Variant, Variant]:
        """The network, the objective and the derivatives of all parameters."""
        loss = RegistrationLoss()
        maps = gradient_magnitude(self.moving), gradient_magnitude(self.fixed)
        dual = self.network.name in ("gated", "average")

        def compare(field: Tensor, moving: Tensor, fixed: Tensor) -> Tensor:
            features = plain_mind_ssc(fixed)
            return F.l1_loss(plain_mind_ssc(plain_warp(moving, field)), features) + plain_smoothness(field)

        def plain() -> Tensor:
            prediction = plain_network(self.network, self.moving, self.fixed)
            total = compare(prediction.displacement, self.moving, self.fixed)
            if dual:
                total = total + 0.5 * compare(prediction.gradient_displacement, *maps)
            return self._gradient(total)

        def ours() -> Tensor:
            prediction = self.network(self.moving, self.fixed)
            return self._gradient(loss(prediction, self.moving, self.fixed).total)

        return plain, ours

    def _gradient(self, total: Tensor) -> Tensor:
        self.network.zero_grad()
        total.backward()
        gradients = [parameter.grad.flatten() for parameter in self.network.parameters()]
        return torch.cat(gradients) / gradients[-1].abs().max()

    def descriptor(self) -> tuple[Variant, Variant]:
        """MIND-SSC and its derivative."""
        upstream = torch.ones(1, 12, *self.moving.shape[2:], device=self.moving.device)

        def run(describe) -> Tensor:
            image = self.moving.clone().requires_grad_()
            features = describe(image)
            features.backward(upstream)
            return torch.cat([features.detach(), image.grad / image.grad.abs().max()], dim=1)

        return lambda: run(plain_mind_ssc), lambda: run(mind_ssc)

    def similarity(self) -> tuple[Variant, Variant]:
        """Mean absolute difference of MIND-SSC to the fixed image's, and its derivative."""
        descriptor = RegistrationLoss().build_descriptor()
        target = descriptor(self.fixed)

        def run(difference) -> Tensor:
            image = self.moving.clone().requires_grad_()
            value = difference(image)
            value.backward()
            return value.detach()

        return (
            lambda: run(lambda image: F.l1_loss(plain_mind_ssc(image), target)),
            lambda: run(lambda image: descriptor.difference(image, target)),
        )

    def warping(self) -> tuple[Variant, Variant]:
        """The spatial transformer and its derivative with respect to the displacement."""

        def run(transform) -> Tensor:
            field = self.field.clone().requires_grad_()
            warped = transform(self.moving, field)
            warped.sum().backward()
            return torch.cat([warped.detach(), field.grad], dim=1)

        return lambda: run(plain_warp), lambda: run(warp)


NAMES = {
    "forward": "network, forward",
    "training": "network, training step",
    "descriptor": "MIND-SSC, value and derivative",
    "similarity": "MIND-SSC difference, value and derivative",
    "warping": "warp, value and derivative",
}


def seconds(run: Variant, device: str) -> tuple[float, float, Tensor]:
    """Return the wall's and the processor's time of one run, and its result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = run()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor, result


def peak_here(run: Variant, device: str) -> float:
    """Return the memory in MB that one run takes above what is held before; Linux only on the CPU."""
    if device != "cpu":
        run()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of what came before
    before = _memory("VmRSS")
    run()
    return _memory("VmHWM") - before


def _memory(name: str) -> float:
    """Return a size of this process in MB; not getrusage's, which begins with the size of the parent process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def peak(case: str, side: int) -> float:
    """Return the same, measured in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--peak", f"{case}:{side}"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare_half(cases: Cases) -> None:
    """Print by how much mixed precision moves the displacements, on a GPU."""
    for kind in (torch.float16, torch.bfloat16):
        with torch.no_grad():
            expected = cases.network(cases.moving, cases.fixed).displacement
            with torch.autocast("cuda", dtype=kind):
                found = cases.network(cases.moving, cases.fixed).displacement
        error = (found - expected).abs().max() / expected.abs().max()
        print(f"{kind}: largest difference {error:.1%} of the largest displacement")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(144, 144, 128))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--network", default="vm", choices=["gated", "average", "vm", "vm-concat"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    cases = Cases(tuple(options.size), options.device, options.network)
    if options.peak:
        case, side = options.peak.split(":")
        print(peak_here(getattr(cases, case)()[int(side)], options.device))
        return
    size = "×".join(map(str, options.size))
    print(f"{options.network}, {size}, {options.device}, {options.threads} thread(s), torch {torch.__version__}")
    print("| | plain: wall s | CPU s | MB | ours: wall s | CPU s | MB | wall ratio | CPU ratio | difference |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case in options.cases:
        sides = getattr(cases, case)()
        times: list[list[tuple[float, float]]] = [[], []]
        results = [None, None]
        for _ in range(options.repeats):
            for side in (0, 1):
                wall, processor, results[side] = seconds(sides[side], options.device)
                times[side].append((wall, processor))
        error = ((results[0] - results[1]).norm() / results[0].norm()).item()
        best = [[min(run[clock] for run in times[side]) for clock in (0, 1)] for side in (0, 1)]
        memory = [peak(case, side) for side in (0, 1)]
        columns = [f"{best[side][0]:.2f} | {best[side][1]:.2f} | {memory[side]:.0f}" for side in (0, 1)]
        ratios = " | ".join(f"{best[0][clock] / best[1][clock]:.1f}" for clock in (0, 1))
        print(f"| {NAMES[case]} | {' | '.join(columns)} | {ratios} | {error:.1e} |", flush=True)
    if options.device != "cpu":
        compare_half(cases)


if __name__ == "__main__":
    main()
