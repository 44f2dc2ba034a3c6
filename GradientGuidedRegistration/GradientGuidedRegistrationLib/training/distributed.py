"""The processes of a training: one alone, or those that torchrun started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch

from ..errors import InputError
from ..registration.device import pick_device

_PATIENCE = timedelta(days=1)  # while one process prepares a large data set or validates, the others wait
_SMALL = (16, 16, 16)  # voxels, of what every network takes


@dataclass(frozen=True)
class Processes:
    """This process among those of a training."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of a tensor over all processes."""
        if self.world > 1:
            value = value.clone()
            torch.distributed.all_reduce(value)
            value /= self.world
        return value

    def parallel(self, network: torch.nn.Module) -> torch.nn.Module:
        """A registration network as all processes train it together: its gradients are their mean.

        After its first backward pass, PyTorch sums gradients in another order. That pass is made here, of nothing, so
        that every step of a run comes after it, and the first one of a resumed run is what it would have been.
        """
        if self.world == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        parallel = torch.nn.parallel.DistributedDataParallel(network, device_ids=devices)
        nothing = torch.zeros((1, 1, *_SMALL), device=self.device)
        parallel(nothing, nothing).displacement.sum().backward()
        network.zero_grad(set_to_none=True)
        return parallel

    def agree(self, flag: bool) -> bool:
        """True everywhere as soon as it is true in one process."""
        if self.world == 1:
            return flag
        shared = torch.tensor(float(flag), device=self.device)
        torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MAX)
        return bool(shared > 0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            torch.distributed.barrier()

    def close(self) -> None:
        """Leave the group."""
        if self.world > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def start(device: str) -> Processes:
    """Join the group that torchrun set up (environment variables RANK, WORLD_SIZE, LOCAL_RANK), or stand alone."""
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    chosen = choose_device(device)
    if world == 1:
        return Processes(0, 1, chosen)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(chosen)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PATIENCE)
    return Processes(rank, world, chosen)


def is_left_alone(error: RuntimeError) -> bool:
    """Whether an exception says that another process of the group is gone."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()


def choose_device(name: str) -> torch.device:
    """The device of a name such as "cpu", "cuda", "cuda:1" or "mps"; "auto" takes the first accelerator there is.

    Raises:
        InputError: an unknown device, or one that this machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, numbered, number = name.partition(":")
    pick_device(kind if kind == "cuda" else name)
    count = torch.cuda.device_count()
    if numbered and not (number.isdecimal() and int(number) < count):
        raise InputError(f"There is no device '{name}' on this machine; its CUDA devices are 0 to {count - 1}.")
    return torch.device(name)
