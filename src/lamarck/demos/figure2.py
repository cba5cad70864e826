"""Figure 2 of the paper, over many seeds: what exploit and explore do, each alone and both together.

Two members can each learn only one of two weights (see `lamarck.demos.toy`). Four settings differ in nothing but their strategies:

=============  ==========================  ===============  ==============================================================
setting        exploit                     explore          at the end, theory
=============  ==========================  ===============  ==============================================================
PBT            ``WeightsOnly(Best())``     ``Gaussian``     1.179 on average with decisions every 10 steps
explore only   ``Itself()``                ``Gaussian``     1.03 on average: noise unlocks the other weight, slowly
exploit only   ``WeightsOnly(Best())``     ``Keep()``       ``1.2 - 1.62 * 0.98**200 = 1.171``: each weight half the time
grid search    ``Never()``                 ``Keep()``       ``0.39 - 0.81 * 0.98**400 = 0.390``: one weight each
=============  ==========================  ===============  ==============================================================

In the paper a member explores after it has copied. Many scripts make everybody explore at every ready point, the best one too; that is
``FirstOf(WeightsOnly(Best()), Itself())``, and has a line of its own in the table.

Two choices decide whether the numbers come out. Noise on ``h`` is clipped at 0: left unbounded, it turns some ``h`` negative and the weights
run away, which is why scripts of this figure find PBT worse than exploit alone. (Reflected at 0 instead, every draw pushes a hyperparameter off
0 and not only every second one, and whatever explores does better than here: PBT 1.183, explore only 1.08.) And members that are exactly tied,
as both are until noise parts them, are put in a random order: compared strictly, nobody would ever copy.

The variant, after a notebook in the documentation of Ray Tune, is the toy with curvature (3/4, 1), the learning rate among the hyperparameters
and a decision every 4 of 100 steps. Half of the population is replaced by copies with their hyperparameters, each of which is then redrawn with
probability one half. It is compared with a grid of fixed values that begins with the same configurations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from lamarck._errors import SettingsError
from lamarck.demos.figure2_plot import draw_settings, draw_variant, load_matplotlib
from lamarck.demos.panel import panel
from lamarck.demos.table import Block, to_csv, to_text
from lamarck.demos.toy import Toy
from lamarck.demos.trials import Case, measure
from lamarck.exploit import Best, FirstOf, Itself, Never, Truncation, WeightsOnly
from lamarck.explore import Gaussian, Keep, PerturbOrResample
from lamarck.space import Float, Space
from lamarck.types import Exploit, HParams

__all__ = ["figure2", "settings", "variant"]

SPACE = Space(h0=Float(0.0, 10.0, bounds="clip"), h1=Float(0.0, 10.0, bounds="clip"))
"""The upper bound is out of reach of 39 steps of noise; the lower one matters."""

VARIANT_SPACE = Space(lr=Float(0.005, 0.1, log=True), h0=Float(0.0, 1.0), h1=Float(0.0, 1.0))


def settings(interval: int, *, copy: Literal["weights", "both"] = "weights", surrogate: Literal["linear", "squared"] = "linear") -> list[Case]:
    """Returns the settings of Figure 2, and PBT again with everybody exploring.

    Args:
        interval: Steps between two decisions, a divisor of 200.
        copy: ``"weights"``, as in the paper's figure, or ``"both"``: the hyperparameters as well. Then exploit alone is no better than the
            grid, since after the first copy both members learn the same weight.
        surrogate: See `Toy`.

    Raises:
        SettingsError: If a choice is unknown.

    Example:
        >>> [case.name for case in settings(10)]
        ['PBT', 'PBT, everybody explores', 'explore only', 'exploit only', 'grid search']
    """
    if copy not in ("weights", "both"):
        raise SettingsError(f"copy: got {copy!r}; it must be 'weights' (as in the paper's figure) or 'both' (the hyperparameters as well)")
    donor: Exploit = WeightsOnly(Best()) if copy == "weights" else Best()
    strategies = {
        "PBT": (donor, Gaussian(0.1)),
        "PBT, everybody explores": (FirstOf(donor, Itself()), Gaussian(0.1)),
        "explore only": (Itself(), Gaussian(0.1)),
        "exploit only": (donor, Keep()),
        "grid search": (Never(), Keep()),
    }
    return [
        Case(
            name=name,
            toy=Toy(surrogate=surrogate),
            space=SPACE,
            initial=({"h0": 1.0, "h1": 0.0}, {"h0": 0.0, "h1": 1.0}),
            exploit=exploit,
            explore=explore,
            interval=interval,
            steps=200,
        )
        for name, (exploit, explore) in strategies.items()
    ]


def variant(initial: Sequence[HParams]) -> list[Case]:
    """Returns PBT on the variant, and the grid of the same configurations.

    Args:
        initial: Configuration that each member starts with, and on the grid keeps.
    """
    strategies = {"PBT": (Truncation(bottom=0.5, top=0.5), PerturbOrResample(resample=0.5)), "grid search": (Never(), Keep())}
    return [
        Case(
            name=name,
            toy=Toy(curvature=(0.75, 1.0)),
            space=VARIANT_SPACE,
            initial=initial,
            exploit=exploit,
            explore=explore,
            interval=4,
            steps=100,
        )
        for name, (exploit, explore) in strategies.items()
    ]


GRIDS: dict[int, tuple[HParams, ...]] = {
    2: tuple({"lr": 0.05, "h0": h0, "h1": 1.0 - h0} for h0 in (0.0, 1.0)),
    16: tuple({"lr": lr, "h0": h0, "h1": 1.0 - h0} for lr in (0.005, 0.0136, 0.0368, 0.1) for h0 in (0.0, 0.01, 0.99, 1.0)),
}
"""First configurations of the variant by population size: hyperparameters that exclude each other, at one learning rate or at four."""


def figure2(
    out: Path,
    seeds: int = 100,
    *,
    interval: int = 10,
    copy: Literal["weights", "both"] = "weights",
    surrogate: Literal["linear", "squared"] = "linear",
    on_progress: Callable[[int, int], object] = lambda done, total: None,
    on_table: Callable[[str], object] = lambda text: None,
) -> list[Path]:
    """Trains all populations of Figure 2 and of its variant, in memory, and writes pictures and tables.

    Args:
        out: Folder to write to; it is made if need be.
        seeds: Runs for each line of the table, at least 2; for the variant, whose ends hardly differ, a fifth of them.
        interval: Which of the two intervals the picture shows, 5 or 10 steps; the table has both.
        copy: What is copied; see `settings`.
        surrogate: What training climbs; see `Toy`.
        on_progress: Is told how many runs are done, and of how many.
        on_table: Is given the finished table, as text for a terminal.

    Returns:
        What was written: ``figure2.png``, ``figure2-variant.png`` and ``figure2.csv``.

    Raises:
        SettingsError: If a choice is not one of those above.
        MissingExtra: If matplotlib is not installed.
    """
    if interval not in (5, 10):
        raise SettingsError(f"interval: got {interval!r}; the picture shows decisions every 5 or every 10 steps")
    load_matplotlib()  # if it is missing, say so now and not after the training
    fewer = max(2, seeds // 5)
    plan = {
        f"every {steps} steps": (
            f"Figure 2, a decision every {steps} of 200 steps, {seeds} seeds: score of the better member (optimum 1.2)",
            settings(steps, copy=copy, surrogate=surrogate),
            seeds,
            "exploit only",
        )
        for steps in (5, 10)
    } | {
        f"variant, {size} members": (
            f"Variant, {size} members, a decision every 4 of 100 steps, {fewer} seeds: score of the best member (optimum 1.2)",
            variant(grid),
            fewer,
            "grid search",
        )
        for size, grid in GRIDS.items()
    }
    done, total = 0, sum(runs * len(cases) for _, cases, runs, _ in plan.values())

    def step() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    blocks = {
        name: Block(name=name, title=title, outcomes=[measure(case, runs, step) for case in cases], reference=reference)
        for name, (title, cases, runs, reference) in plan.items()
    }
    on_table(to_text(list(blocks.values())))
    shown = [panel(outcome) for outcome in blocks[f"every {interval} steps"].outcomes if outcome.case.name != "PBT, everybody explores"]
    pairs = [(panel(pbt), panel(grid)) for pbt, grid in (blocks[f"variant, {size} members"].outcomes for size in GRIDS)]
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in ("figure2.png", "figure2-variant.png", "figure2.csv")]
    title = f"Figure 2: two members, a decision every {interval} steps"
    draw_settings(shown, title=title, note=f"better member, 90 % of {seeds} seeds").savefig(files[0], dpi=160)
    title = "Variant: the learning rate among the hyperparameters, a decision every 4 steps"
    draw_variant(pairs, title=title, note=f"best member, 90 % of {fewer} seeds").savefig(files[1], dpi=160)
    files[2].write_text(to_csv(list(blocks.values())))
    return files
