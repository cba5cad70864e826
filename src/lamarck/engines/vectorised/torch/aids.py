"""What an ordinary forward pass needs to run for many members at once: noise and numbers that differ from member to member.

PyTorch draws noise from one stream, and takes probabilities, slopes and smoothing as Python numbers. `Aids` answers for such functions while a
member's loss is computed. Noise is a function of (the member's key, which draw of the pass it is, the element): a member draws the same in a
stack of a thousand, alone, compiled or not, and after a resume. Numbers may be tensors.

What draws underneath the functions of PyTorch that Python code calls (its Gamma and Poisson distributions, scripted modules) is not seen here;
`lamarck.engines.vectorised.torch.probe` notices it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

from torch import Tensor
from torch.overrides import TorchFunctionMode

from lamarck.engines.vectorised.torch.draws import DRAWS, Drawn, room
from lamarck.engines.vectorised.torch.layers import LAYERS, OPENED, attention_dropout, with_a_number
from lamarck.engines.vectorised.torch.numbers import NUMBERS

__all__ = ["Aids", "asked"]

_NOISE: Mapping[str, Callable[..., Tensor | None]] = DRAWS | LAYERS
_ROOM = ("empty", "empty_like", "new", "new_empty")

_asked: list[str] | None = None


@contextmanager
def asked() -> Iterator[list[str]]:
    """Yields a list of the names of the functions that `Aids` answers for meanwhile."""
    global _asked  # noqa: PLW0603 - a mode is made deep inside of what is being traced, where nothing can be handed to it
    _asked = []
    try:
        yield _asked
    finally:
        _asked = None


@final
class Aids(TorchFunctionMode):
    """Answers for random functions, and for those whose numbers are tensors, while it is entered.

    Functions are told apart by their names, which `torch`, its functional form and the methods of tensors share.

    Args:
        key: ``int64[]``: what the noise of this pass depends on; ``None`` leaves noise to PyTorch.
        plain: Whether recurrent layers are carried out in plain operations, in place of a GPU's own kernels for them.
    """

    def __init__(self, key: Tensor | None, *, plain: bool = False) -> None:
        super().__init__()
        self._drawn = None if key is None else Drawn(key, plain=plain)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        name = function.__name__
        answer = None
        if name in NUMBERS:
            answer = NUMBERS[name](*args, **given)
        elif self._drawn is not None:
            if name in _NOISE and "tensor" not in given:  # `torch.nn.init` has functions of some of the names, and gives weights by that
                answer = _NOISE[name](self._drawn, *args, **given)
            elif name in _ROOM:  # each member needs room of its own, for what is drawn into it
                return room(self._drawn, function(*args, **given))
            elif name == "_is_all_true":  # how distributions check their parameters; nobody can be told what is right for some members
                return True
            elif name in OPENED:
                answer = self._opened(name, args, given)
        if answer is None:
            return function(*args, **given)
        if _asked is not None:
            _asked.append(name)
        return answer

    def _opened(self, name: str, args: tuple[Any, ...], given: Mapping[str, Any]) -> Any:
        """Carries out a function whose noise is drawn on the inside; nothing, if none is."""
        assert self._drawn is not None
        if name == "multi_head_attention_forward":
            chance = attention_dropout(args, given)
            if isinstance(chance, Tensor):
                self._drawn.chance = chance
                args, given = with_a_number(args, given)
            elif chance == 0:
                return None
        with self:
            made = OPENED[name](*args, **given)
        self._drawn.chance = None
        return made
