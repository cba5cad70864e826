"""What a run looks like: the data behind each figure (`lamarck.plots.data`) and the figures (`lamarck.plots.figures`, with matplotlib)."""

from lamarck.plots.animation import animate
from lamarck.plots.comparison import compare
from lamarck.plots.figures import FIGURES, coordinates, hyperparameters, lineage, overview, paths, save, takeover, values
from lamarck.plots.notebook import html

__all__ = [
    "FIGURES",
    "animate",
    "compare",
    "coordinates",
    "html",
    "hyperparameters",
    "lineage",
    "overview",
    "paths",
    "save",
    "takeover",
    "values",
]
