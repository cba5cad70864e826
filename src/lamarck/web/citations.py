"""What to cite: the papers behind strategies, as BibTeX.

Data alone: an entry for each paper, and the keys of the papers behind each strategy. Strategies that are combinations of others stand for
nothing of their own; their parts are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["METHOD", "PAPERS", "SOURCES", "bibtex"]

PAPERS: Mapping[str, str] = {
    "jaderberg2017": """@article{jaderberg2017,
  title   = {Population Based Training of Neural Networks},
  author  = {Jaderberg, Max and Dalibard, Valentin and Osindero, Simon and Czarnecki, Wojciech M. and Donahue, Jeff and Razavi, Ali and Vinyals, Oriol and Green, Tim and Dunning, Iain and Simonyan, Karen and Fernando, Chrisantha and Kavukcuoglu, Koray},
  journal = {arXiv preprint arXiv:1711.09846},
  year    = {2017}
}""",  # noqa: E501 - one line for each field
    "doulazmi2025": """@inproceedings{doulazmi2025,
  title     = {Multiple-Frequencies Population-Based Training},
  author    = {Doulazmi, Wa{\\"e}l and Lehuger, Auguste and Toromanoff, Marin and Charraut, Valentin and Buhet, Thibault and Moutarde, Fabien},
  booktitle = {Reinforcement Learning Conference},
  year      = {2025},
  note      = {arXiv:2506.03225}
}""",
    "parkerholder2020": """@inproceedings{parkerholder2020,
  title     = {Provably Efficient Online Hyperparameter Optimization with Population-Based Bandits},
  author    = {Parker-Holder, Jack and Nguyen, Vu and Roberts, Stephen J.},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020},
  note      = {arXiv:2002.02518}
}""",
    "petrenko2023": """@inproceedings{petrenko2023,
  title     = {{DexPBT}: Scaling up Dexterous Manipulation for Hand-Arm Systems with Population Based Training},
  author    = {Petrenko, Aleksei and Allshire, Arthur and State, Gavriel and Handa, Ankur and Makoviychuk, Viktor},
  booktitle = {Robotics: Science and Systems},
  year      = {2023},
  note      = {arXiv:2305.12127}
}""",
    "welch1947": """@article{welch1947,
  title   = {The Generalization of `{Student's}' Problem when Several Different Population Variances are Involved},
  author  = {Welch, B. L.},
  journal = {Biometrika},
  volume  = {34},
  number  = {1-2},
  pages   = {28--35},
  year    = {1947}
}""",
    "zhang2021": """@inproceedings{zhang2021,
  title     = {On the Importance of Hyperparameter Optimization for Model-based Reinforcement Learning},
  author    = {Zhang, Baohe and Rajan, Raghu and Pineda, Luis and Lambert, Nathan and Biedenkapp, Andr{\\'e} and Chua, Kurtland and Hutter, Frank and Calandra, Roberto},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  year      = {2021},
  note      = {arXiv:2102.13651}
}""",  # noqa: E501 - one line for each field
}
"""BibTeX entries by key."""

METHOD = "jaderberg2017"
"""The method itself, which every run uses."""

SOURCES: Mapping[str, tuple[str, ...]] = {
    "backtracking": ("zhang2021",),
    "margin": ("petrenko2023",),
    "multi_frequency": ("doulazmi2025",),
    "pb2": ("parkerholder2020",),
    "welch": ("welch1947",),
}
"""What strategies owe to other papers than `METHOD`, by name."""


def bibtex(strategies: Mapping[str, Any]) -> str:
    """Returns the entries for the strategies of a run, the method's own first.

    Args:
        strategies: As `lamarck.types.Started` holds them.

    Example:
        >>> inner = {"name": "truncation", "bottom": 0.2}
        >>> entries = bibtex({"exploit": {"name": "margin", "inner": inner}, "explore": {"name": "perturb"}})
        >>> [line for line in entries.splitlines() if line.startswith("@")]
        ['@article{jaderberg2017,', '@inproceedings{petrenko2023,']
    """
    keys = dict.fromkeys([METHOD, *(key for name in _names(strategies) for key in SOURCES.get(name, ()))])
    return "\n\n".join(PAPERS[key] for key in keys)


def _names(description: Any) -> Iterator[str]:
    """The names of strategies, however deep they are nested."""
    match description:
        case Mapping():
            if isinstance(name := description.get("name"), str):
                yield name
            for part in description.values():
                yield from _names(part)
        case list() | tuple():
            for part in description:
                yield from _names(part)
