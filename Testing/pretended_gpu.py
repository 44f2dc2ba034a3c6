"""A GPU that is not there: its tensors are kept in the CPU's memory, but may not meet the CPU's own.

What runs here with `device="cuda"` forgets no tensor on the wrong device, and reads none without bringing it back. It
says nothing of speed, memory or rounding on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

_aten = torch.ops.aten
_COPIES = (_aten._to_copy.default, _aten.copy_.default)
_TAKE_INDICES_FROM_THE_CPU = (_aten.index.Tensor, _aten.index_put_.default, _aten._index_put_impl_.default)
_READS = {"item", "tolist", "__bool__", "__float__", "__int__", "__index__"}


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


_setup_privateuseone_for_python_backend("pretended", backend_module=_Backend())
DEVICE = torch.device("pretended", 0)


class PretendedTensor(torch.Tensor):
    """A tensor on the pretended GPU; `kept` holds its values."""

    kept: torch.Tensor

    @staticmethod
    def __new__(cls, kept: torch.Tensor) -> PretendedTensor:
        """Wrap a tensor of the CPU."""
        wrapped = torch.Tensor._make_wrapper_subclass(
            cls, kept.size(), kept.stride(), kept.storage_offset(), dtype=kept.dtype, device=DEVICE
        )
        wrapped.kept = kept
        return wrapped

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Saved as a tensor of the CPU, which is where weights and checkpoints are loaded to."""
        return self.kept.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch for operations on such tensors."""
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    pretended = [isinstance(tensor, PretendedTensor) for tensor in tensors]
    near = [tensor for tensor, elsewhere in zip(tensors, pretended) if not elsewhere and tensor.ndim]
    indices = func in _TAKE_INDICES_FROM_THE_CPU and pretended[0]
    if any(pretended) and near and func not in _COPIES and not indices:
        raise RuntimeError(f"{func}: tensors of the GPU and of the CPU, {[tuple(t.shape) for t in near]}")
    device = kwargs.get("device")
    stays = any(pretended) if device is None else torch.device(device) == DEVICE
    plain_args, plain = tree_map(_kept, (args, dict(kwargs)))
    if device is not None:
        plain["device"] = torch.device("cpu")
    result = func(*plain_args, **plain)
    written = [
        args[place] if place < len(args) else kwargs[argument.name]
        for place, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    if written:
        return written[0] if isinstance(result, torch.Tensor) else result
    return tree_map(_wrapped, result) if stays else result


def _kept(value: Any) -> Any:
    return value.kept if isinstance(value, PretendedTensor) else value


def _wrapped(value: Any) -> Any:
    return PretendedTensor(value) if isinstance(value, torch.Tensor) else value


def _there(value: Any) -> Any:
    """The pretended device where CUDA's is meant."""
    if isinstance(value, (str, torch.device)) and str(value).split(":")[0] in ("cuda", "pretended"):
        return DEVICE
    return value


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        moves = kwargs.get("device") is not None and torch.device(kwargs["device"]) == DEVICE
        if moves or any(isinstance(leaf, PretendedTensor) for leaf in tree_leaves((args, kwargs))):
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


class _Functions(TorchFunctionMode):
    """What does not go through the operations: names of devices, values that are read, `tensor` and `quantile`."""

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name == "__get__" or func is torch.device:
            return func(*args, **kwargs)
        if name in _READS and isinstance(args[0], PretendedTensor):
            return func(args[0].kept, *args[1:], **kwargs)
        if func is torch.quantile and isinstance(args[0], PretendedTensor):  # changes the shape of a tensor in place
            return func(args[0].cpu(), torch.as_tensor(args[1]).cpu(), **kwargs).to(DEVICE)
        args, kwargs = [_there(value) for value in args], {key: _there(value) for key, value in kwargs.items()}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == DEVICE:
            return func(*args, **{**kwargs, "device": None}).to(DEVICE)
        return func(*args, **kwargs)


class _Generator:
    _real = torch.Generator

    def __new__(cls, device: Any = None) -> Any:
        return cls._real()


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """In the block, `cuda` is a device that is there."""
    with ExitStack() as stack:
        for name, value in {
            "is_available": True, "is_bf16_supported": True, "device_count": 1, "mem_get_info": (8 << 30, 8 << 30)
        }.items():  # fmt: skip
            stack.enter_context(mock.patch(f"torch.cuda.{name}", lambda *_, value=value: value))
        stack.enter_context(mock.patch("torch.cuda.set_device", lambda _: None))
        stack.enter_context(mock.patch("torch.Generator", _Generator))
        stack.enter_context(_Operations())
        stack.enter_context(_Functions())
        yield
