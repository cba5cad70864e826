"""The leaves of a state: arrays, NumPy scalars, tensors and bytes, as plain buffers and back.

PyTorch is never imported for a state without tensors: whoever holds one has imported it already, and a stored one says that it is one.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import require

__all__ = ["CODES", "WIDTHS", "Leaf", "copied", "from_leaf", "to_leaf"]

CODES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
"""What NumPy and PyTorch call a type of numbers, and what safetensors calls it."""

_NAMES = {code: name for name, code in CODES.items()}
_NUMPY = {np.dtype(name): code for name, code in CODES.items() if not name.startswith(("bfloat", "float8"))}

WIDTHS = {code: dtype.itemsize for dtype, code in _NUMPY.items()} | {"BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
"""Bytes of one number."""

_ARRAYS = frozenset({np.ndarray, np.memmap})
_ALLOWED = "dict (keys: str or int), list, tuple, None, bool, int, float, str, bytes, numpy arrays and scalars, and torch tensors"


class Leaf(NamedTuple):
    """A buffer and what it holds.

    Args:
        code: Type of the numbers, as safetensors calls it.
        shape: Shape of the array; ``()`` for a scalar.
        data: ``uint8[n]``, contiguous: the numbers in C order, little-endian.
    """

    code: str
    shape: tuple[int, ...]
    data: NDArray[np.uint8]


def copied(value: Any) -> Any:
    """Returns an independent copy of an array, scalar or tensor; a tensor's is on the CPU.

    Raises:
        TypeError: If `to_leaf` would refuse it.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        _check_array(value)
        return value.copy()
    return _sound(value).clone()


def to_leaf(value: Any) -> tuple[str, Leaf]:
    """Returns what a leaf is (``"array"``, ``"scalar"``, ``"tensor"`` or ``"bytes"``) and its buffer, which shares memory where it can.

    Raises:
        TypeError: If its type cannot be kept; the message says which can.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        code = _check_array(value)
        flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        return "array" if isinstance(value, np.ndarray) else "scalar", Leaf(code, value.shape, flat)
    if type(value) is bytes:
        return "bytes", Leaf("U8", (len(value),), np.frombuffer(value, dtype=np.uint8))
    tensor = _sound(value).contiguous()
    flat = _flat(tensor).view(sys.modules["torch"].uint8).numpy()
    return "tensor", Leaf(CODES[_name(tensor)], tuple(tensor.shape), flat)


def from_leaf(kind: str, leaf: Leaf) -> Any:
    """Returns the value of a buffer, which takes the buffer over.

    Args:
        kind: What `to_leaf` said.
        leaf: The buffer; writable, unless the kind is ``"bytes"``.

    Raises:
        MissingExtra: If it is a tensor and PyTorch is not installed.
        KeyError: If there is no such kind or type.
    """
    if kind == "bytes":
        return leaf.data.tobytes()
    if kind == "tensor":
        torch = require("torch", "torch", "A checkpoint with tensors")
        return _flat(torch.from_numpy(leaf.data)).view(getattr(torch, _NAMES[leaf.code])).reshape(leaf.shape)
    array = leaf.data.view(_NAMES[leaf.code]).reshape(leaf.shape)
    return {"array": array, "scalar": array[()]}[kind]


def _check_array(value: Any) -> str:
    if type(value) not in _ARRAYS and not isinstance(value, np.generic):
        raise TypeError(f"got a {type(value).__name__}, a subclass of numpy.ndarray; save a plain array: numpy.asarray(...)")
    code = _NUMPY.get(value.dtype)
    if code is None:
        names = ", ".join(dtype.name for dtype in _NUMPY)
        raise TypeError(f"got an array of {value.dtype!r}; arrays may hold {names}, in the machine's byte order")
    return code


def _flat(tensor: Any) -> Any:
    """A contiguous tensor as one row; ``reshape`` keeps whatever stride a single number has, and then it has no view of another type."""
    return tensor.as_strided((tensor.numel(),), (1,))


def _name(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _sound(tensor: Any) -> Any:
    """The tensor on the CPU, apart from the graph it was computed in."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(tensor, torch.Tensor):
        raise TypeError(f"got a {type(tensor).__name__}; a state may hold {_ALLOWED}")
    if str(tensor.layout) != "torch.strided" or tensor.is_meta or _name(tensor) not in CODES:
        raise TypeError(
            f"got a tensor of {tensor.dtype}, layout {tensor.layout}, device {tensor.device}; "
            f"tensors must be dense, hold data, and be of {', '.join(CODES)}"
        )
    return tensor.detach().cpu().resolve_conj().resolve_neg()
