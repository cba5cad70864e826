"""What the settings alone show, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lamarck import explore as explores
from lamarck.exploit import MultiFrequency, Never
from lamarck.guards.finding import Finding, generations_text
from lamarck.pbt import PBT
from lamarck.space import Float, Int
from lamarck.types import Explore

__all__ = ["check_settings", "reach"]

_MANY, _FEW, _SMALL = 60, 8, 8

_CHANGES = 0.45
"""How often a generation the winner's line is changed, at most: truncation of a fifth to a quarter measured 0.2 to 0.45."""


def check_settings(pbt: PBT) -> tuple[Finding, ...]:
    """Looks at a run that has not begun.

    A random search (``exploit=Never()``) decides nothing, so there is nothing to say about it.

    Args:
        pbt: The run's settings, space and strategies.

    Example:
        >>> from lamarck import PBT
        >>> from lamarck.space import Float, Space
        >>> from lamarck.types import Settings
        >>> lr = Space(lr=Float(1e-5, 1e-1, log=True))
        >>> check_settings(PBT(space=lr, settings=Settings(population_size=16, interval=500, generations=20)))
        ()
        >>> for finding in check_settings(PBT(space=lr, settings=Settings(population_size=16, interval=50, generations=200))):
        ...     print(finding.name, finding.severity)
        many_generations warning
    """
    return () if isinstance(pbt.exploit, Never) else (*_sizes(pbt), *_frequencies(pbt), *_model(pbt), *_ranges(pbt))


def reach(generations: int, log_step: float) -> float:
    """Returns the factor by which a schedule can move a hyperparameter at best, by small steps alone.

    Args:
        generations: Intervals in the run.
        log_step: Mean size of a step on the natural-log scale: ``log(1.25)`` for factors 0.8 and 1.25.

    Example:
        >>> import math
        >>> round(reach(20, math.log(1.25)), 1)
        7.5
    """
    return math.exp(_CHANGES * generations * log_step)


def _sizes(pbt: PBT) -> Iterator[Finding]:
    settings = pbt.settings
    generations, interval = settings.generations, settings.interval
    steps = generations * interval
    if settings.population_size < _SMALL:
        yield Finding(
            name="few_members",
            severity="warning",
            text=(
                f"A population of {settings.population_size} leaves little to choose from: one founder takes over within a few generations, "
                f"and luck decides which. Give population_size={_SMALL} or more; 20 to 40 gain reliably. Workers can be fewer than members."
            ),
        )
    if generations > _MANY and not isinstance(pbt.exploit, MultiFrequency):  # which is what to do about it
        yield Finding(
            name="many_generations",
            severity="warning",
            text=(
                f"{generations} generations judge members after only {interval} {'step' if interval == 1 else 'steps'} each, which rewards "
                "what helps at once, such as a low learning rate, over what helps in the end (greediness). Aim at 15 to 30: "
                f"interval={math.ceil(steps / 25)} for the same {steps} steps. Or let sub-populations decide at several frequencies: "
                "exploit=MultiFrequency()."
            ),
        )
    if generations < _FEW:
        yield Finding(
            name="few_generations",
            severity="warning",
            text=(
                f"{generations_text(generations)} {'is' if generations == 1 else 'are'} too few for a schedule to form: the run is a "
                "random search with a little copying. Aim at 15 to "
                + (f"30: interval={steps // 20} for the same {steps} steps." if steps >= 20 else "30, and train longer.")
            ),
        )


def _frequencies(pbt: PBT) -> Iterator[Finding]:
    if not isinstance(pbt.exploit, MultiFrequency):
        return
    periods, size, generations = pbt.exploit.periods, pbt.settings.population_size, pbt.settings.generations
    if size < 4 * len(periods):
        yield Finding(
            name="small_sub_populations",
            severity="warning",
            text=(
                f"{size} members in {len(periods)} sub-populations are fewer than four each, too few for winners, migrants and losers. Give "
                f"population_size={4 * len(periods)} or more, or fewer periods: MultiFrequency(periods=(1, 5))."
            ),
        )
    if generations < 4 * max(periods):
        yield Finding(
            name="long_period",
            severity="warning",
            text=(
                f"A sub-population that evolves every {max(periods)} generations does so {(generations - 1) // max(periods)} times in "
                f"{generations} and learns next to nothing. Give periods of at most {max(1, generations // 4)}, or shorter intervals: "
                f"generations={4 * max(periods)} for the same steps."
            ),
        )


def _model(pbt: PBT) -> Iterator[Finding]:
    if isinstance(pbt.explore, explores.PB2) and not any(isinstance(it, Float | Int) and it.when is None for it in pbt.space.values()):
        yield Finding(
            name="nothing_to_model",
            severity="warning",
            text=(
                "PB2 models numbers that are always there, and this space has none: its inner strategy decides everything. Use that one, "
                f"explore={type(pbt.explore.inner).__name__}(...), or take conditions off."
            ),
        )


def _ranges(pbt: PBT) -> Iterator[Finding]:
    generations = pbt.settings.generations
    for name, parameter in pbt.space.items():
        step = _log_step(pbt.explore, name)
        if not step or not isinstance(parameter, Float | Int):
            continue
        low, high = parameter.init or (parameter.low, parameter.high)
        far = reach(generations, step)
        if low > 0 and high / low > far**2:
            yield Finding(
                name="short_reach",
                severity="warning",
                subject=name,
                text=(
                    f"{name} starts anywhere from {low:.3g} to {high:.3g}, but in {generations_text(generations)} small steps move it by a "
                    f"factor of {far:.2g} at best. What nobody starts near is never tried. Use explore=PerturbOrResample(), which now and then "
                    "draws it anew, larger factors, or a narrower range."
                ),
            )
        if isinstance(parameter, Float) and (parameter.low == 0 or parameter.high == 0):
            yield Finding(
                name="stuck_at_zero",
                severity="warning",
                subject=name,
                text=(
                    f"{name} may be 0, and it is only ever multiplied: the smaller it gets, the smaller its steps, until it cannot come back. "
                    "Use explore=PerturbOrResample(), which now and then draws it anew, Gaussian() for it, or a logarithmic range without 0."
                ),
            )
        elif isinstance(parameter, Float) and parameter.low < 0 < parameter.high:
            yield Finding(
                name="crosses_zero",
                severity="note",
                subject=name,
                text=(
                    f"The range of {name}, {parameter.low:.3g} to {parameter.high:.3g}, crosses 0, where factors make no sense: it moves by "
                    f"fixed shares of its range instead. explore=PerKey({{{name!r}: Gaussian(...)}}) says by how much."
                ),
            )


def _log_step(explore: Explore, name: str) -> float | None:
    """The mean logarithm by which a strategy moves a hyperparameter; ``None`` if it does more than multiply, or nobody knows what."""
    match explore:
        case explores.Keep():
            return 0.0
        case explores.Perturb():
            return explore.probability * _size(explore.factors)
        case explores.PerturbOrResample() if explore.resample == 0:
            return _size(explore.factors)
        case explores.PerKey():
            return _log_step(explore.strategies.get(name, explore.default), name)
        case explores.Chain():
            steps = [_log_step(strategy, name) for strategy in explore.strategies]
            known = [step for step in steps if step is not None]
            return sum(known) if len(known) == len(steps) else None
        case _:
            return None


def _size(factors: object) -> float:
    assert isinstance(factors, tuple)
    return sum(abs(math.log(factor)) for factor in factors) / len(factors)
