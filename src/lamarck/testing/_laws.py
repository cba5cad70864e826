"""What holds for every strategy, of whichever kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from lamarck.types import Strategy

__all__ = ["check_value", "law"]


def law(holds: bool, words: str, strategy: Strategy, details: object) -> None:
    """Raises an `AssertionError` that names the law, the strategy and the case, unless the law holds."""
    if not holds:
        raise AssertionError(f"{words}; broken by {strategy!r}: {details}")


def check_value(strategy: Strategy, registry: Mapping[str, type[Any]], from_dict: Callable[[Mapping[str, Any]], Strategy]) -> None:
    """Checks that a strategy is a frozen value with a name that goes through JSON and back.

    Args:
        strategy: The strategy.
        registry: The registry of its kind; a strategy that is not in it is not read back.
        from_dict: What reads descriptions of that kind.
    """
    params = getattr(type(strategy), "__dataclass_params__", None)
    law(params is not None and params.frozen, "a strategy is a frozen dataclass", strategy, type(strategy))
    described = strategy.to_dict()
    law(described.get("name") == strategy.name, "a strategy's description holds its name", strategy, described)
    try:
        through = json.loads(json.dumps(described, allow_nan=False))
    except (TypeError, ValueError) as error:
        through = error
    law(through == described, "a strategy's description is plain JSON", strategy, described)
    if registry.get(strategy.name) is type(strategy):
        back = from_dict(described)
        law(type(back) is type(strategy) and back.to_dict() == described, "a strategy can be read back from its description", strategy, back)
