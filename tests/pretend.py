"""A pretend GPU, strict where a CPU is not: its tensors call themselves CUDA's, compute on the CPU, and refuse what a GPU refuses.

A tensor of it is a wrapper around one of the CPU; functorch and autograd go through it. A mode sees every operation below them and

- raises if tensors of the two devices meet, other than numbers without dimensions;
- writes down each copy between the devices and each wait for a value, with the line of the library that asked for it;
- counts the operations, which on a GPU would be kernels launched;
- plays `torch.cuda.graph`: what is recorded does not happen then, raises if it copies or waits, and happens at each replay, in the memory of
  the recording.

It cannot see what differs inside of kernels: their speed, their order of sums, their own choice of algorithms (cuDNN's, flash attention's).
Operations that an operation of the CPU is made of on the inside count as one. Importing it changes PyTorch for the whole process.
"""

from __future__ import annotations

import itertools
import weakref
from collections import Counter
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from lamarck.engines.vectorised.torch import tapes
from library_line import library_line

__all__ = ["DEVICE", "Far", "Pretend", "pretended"]

DEVICE = torch.device("cuda:0")
_WAITS = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::equal",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::repeat_interleave",
}
_VIEWS = {"aten::alias", "aten::detach", "aten::view", "aten::_unsafe_view", "aten::expand", "aten::select", "aten::slice", "aten::t"}
_VIEWS |= {f"aten::{name}" for name in ("transpose", "permute", "unsqueeze", "squeeze", "unbind", "split", "split_with_sizes", "as_strided")}

_setup_privateuseone_for_python_backend("pretend")


def _lstm_cell(into, again, cell, *biases):
    """What a GPU has a kernel of its own for, and a CPU has not."""
    gates = sum((bias for bias in biases if bias is not None), into + again)
    i, f, g, o = (part.tanh() if place == 2 else part.sigmoid() for place, part in enumerate(gates.chunk(4, 1)))
    cell = f * cell + i * g
    return o * cell.tanh(), cell, torch.cat((i, f, g, o), 1)


def _lstm_cell_backward(to_out, to_cell, before, cell, gates, biased):
    i, f, g, o = gates.chunk(4, 1)
    to_out, to_cell = (torch.zeros_like(cell) if part is None else part for part in (to_out, to_cell))
    bent = cell.tanh()
    to_cell = to_cell + to_out * o * (1 - bent**2)
    parts = (to_cell * g * i * (1 - i), to_cell * before * f * (1 - f), to_cell * i * (1 - g**2), to_out * bent * o * (1 - o))
    to_gates = torch.cat(parts, 1)
    return to_gates, to_cell * f, to_gates.sum(0) if biased else None


_KERNELS = {"aten::_thnn_fused_lstm_cell": _lstm_cell, "aten::_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward}


class Far(torch.Tensor):
    """A tensor on the pretend device.

    Args:
        near: Where its numbers are.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near):
        made = torch.Tensor._make_wrapper_subclass(
            cls, near.size(), strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype, device="privateuseone:0"
        )
        made.near = near
        return made

    def __repr__(self):
        return f"Far({self.near})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function}: a tensor of the pretend device is used without it")

    @property
    def device(self):
        return DEVICE

    @property
    def is_cuda(self):
        return True

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, other):
        assert isinstance(other, Far)
        torch.Tensor.data.__set__(self, other)
        self.near = other.near

    def untyped_storage(self):
        return self.near.untyped_storage()

    def data_ptr(self):
        return self.near.data_ptr()

    def tolist(self):
        return self.cpu().tolist()


class Pretend(TorchDispatchMode):
    """The pretend device, while it is entered.

    Attributes:
        seen: What crossed between the devices or waited: (what, line of the library) -> how often.
        kernels: Operations launched: name -> how often.
        recording: What is being recorded, or ``None``.
    """

    def __init__(self):
        super().__init__()
        self.seen, self.kernels = Counter(), Counter()
        self.recording = None

    def reset(self):
        """Forgets what was counted."""
        self.seen.clear()
        self.kernels.clear()

    def note(self, what):
        """Writes down that something waits or crosses."""
        if self.recording is not None:
            raise RuntimeError(f"{what}: operation not permitted when stream is capturing")
        self.seen[what, library_line()] += 1

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function._schema.name
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        far, near = [t for t in given if isinstance(t, Far)], [t for t in given if not isinstance(t, Far)]
        asked = kwargs.get("device")
        to_far = bool(far) if asked is None else asked.type != "cpu"
        if name == "aten::_to_copy" and (asked is not None and to_far != bool(far)):
            self.note("copy to the device" if to_far else "copy from the device")
        elif name == "aten::copy_" and far and near:
            self.note("copy to the device" if far[0] is args[0] else "copy from the device")
        elif far:
            self._check(name, args, near)
        if not far and not to_far:
            return function(*args, **kwargs)
        if asked is not None and asked.type == "meta":
            return function(*tree_map(_opened, args), **tree_map(_opened, kwargs))
        if asked is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        made = self._made(_KERNELS.get(name, function), tree_map(_opened, args), tree_map(_opened, kwargs))
        if not to_far:
            return made
        if name not in _VIEWS:
            self.kernels[name.removeprefix("aten::")] += 1
        wrappers = {id(t.near): t for t in far}
        return tree_map(lambda t: wrappers.get(id(t)) if id(t) in wrappers else Far(t) if isinstance(t, torch.Tensor) else t, made)

    def _check(self, name, args, near):
        indexed = name in ("aten::index", "aten::index_put_", "aten::index_put")
        if indexed and any(t is not None and t.dtype in (torch.bool, torch.uint8) for t in args[1]):
            self.note("wait: a mask as an index")
        if name in _WAITS:
            self.note(f"wait: {name.removeprefix('aten::')}")
        if name == "aten::_foreach_copy_" and all(isinstance(a, Far) == isinstance(b, Far) for a, b in zip(*args[:2], strict=True)):
            return
        for tensor in near:
            if tensor.ndim:
                raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!")

    def _made(self, function, args, kwargs):
        if self.recording is None:
            return function(*args, **kwargs)
        return self.recording.add(function, args, kwargs)


class _Recording:
    """Operations, as they were met while they were recorded, and the tensors that they left."""

    def __init__(self):
        self.played, self.kept = [], {}

    def add(self, function, args, kwargs):
        written = [a for a, told in zip(args, function._schema.arguments, strict=False) if told.alias_info and told.alias_info.is_write]
        for tensor in (leaf for leaf in tree_leaves(written) if isinstance(leaf, torch.Tensor)):
            storage = tensor.untyped_storage()
            self.kept.setdefault(storage.data_ptr(), (storage, storage.clone()))  # nothing happens while it is recorded
        made = function(*args, **kwargs)
        self.played.append((function, args, kwargs, made))
        return made

    def end(self):
        for storage, before in self.kept.values():
            storage.copy_(before)

    def replay(self):
        for function, args, kwargs, made in self.played:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(made), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                    old.copy_(new)


class _Graph:
    """In the place of `torch.cuda.CUDAGraph`."""

    recording = None
    pools = itertools.count()
    living = weakref.WeakKeyDictionary()

    def replay(self):
        self.recording.replay()

    def pool(self):
        return self.living[self]

    def recorded_in(self, pool):
        """As the allocator has it, which knows a pool as long as a graph lives that was recorded in it."""
        assert pool is None or pool in self.living.values(), "use_count > 0 INTERNAL ASSERT FAILED"
        self.living[self] = next(self.pools) if pool is None else pool


def _opened(value):
    return value.near if isinstance(value, Far) else value


class _Stream:
    def wait_stream(self, other):
        pass


@contextmanager
def _nothing(*args, **kwargs):
    yield


@contextmanager
def pretended(*, memory=1 << 33):
    """Enters a pretend device, and lets `torch.cuda` speak of it.

    Args:
        memory: Bytes that it says are free.
    """
    pretend = Pretend()

    @contextmanager
    def recorded(graph, pool=None, **kwargs):
        graph.recorded_in(pool)
        pretend.recording = graph.recording = _Recording()
        try:
            yield
        finally:
            pretend.recording = None
            graph.recording.end()

    told = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "synchronize": lambda device=None: pretend.note("wait: synchronize"),
        "mem_get_info": lambda device=None: (memory, memory),
        "memory_reserved": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0,
        "get_rng_state": lambda device=None: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda state, device=None: None,
        "manual_seed_all": lambda seed: None,
        "is_current_stream_capturing": lambda: pretend.recording is not None,
        "current_stream": lambda device=None: _Stream(),
        "Stream": _Stream,
        "stream": _nothing,
        "device_of": _nothing,
        "device": _nothing,
        "CUDAGraph": _Graph,
        "graph": recorded,
    }

    def launches(work):
        """What work costs, in the place of its time: this device is no faster with a recording than without."""
        counted = pretend.kernels.total()
        work()
        return pretend.kernels.total() - counted

    seconds, tapes._seconds = tapes._seconds, launches
    before = {name: getattr(torch.cuda, name) for name in told}
    for name, put in told.items():
        setattr(torch.cuda, name, put)
    lifting = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) makes a tensor on the CPU, and copies it
    try:
        with pretend:
            yield pretend
    finally:
        torch._C._set_only_lift_cpu_tensors(lifting)
        tapes._seconds = seconds
        for name, put in before.items():
            setattr(torch.cuda, name, put)
