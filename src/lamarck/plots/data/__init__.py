"""What the figures show, as numbers: everything that is decided before a line is drawn.

A run is drawn as *strands*, one for each report: a strand begins where the weights that it went on from were reported and ends at its own
report. Put end to end, the strands of a report and its ancestors are the life of its weights, whoever carried them. Strands with a common
founder are a *family*.
"""

from __future__ import annotations

from lamarck.plots.data.coordinates import Coordinates, Scale, coordinates
from lamarck.plots.data.lineage import Lineage, lineage
from lamarck.plots.data.panels import Panel, panels
from lamarck.plots.data.paths import Paths, default_names, paths
from lamarck.plots.data.strands import Family, Strands, drawable, own_last, strands
from lamarck.plots.data.takeover import Takeover, takeover
from lamarck.plots.data.values import Band, Values, values, window

__all__ = [
    "Band",
    "Coordinates",
    "Family",
    "Lineage",
    "Panel",
    "Paths",
    "Scale",
    "Strands",
    "Takeover",
    "Values",
    "coordinates",
    "default_names",
    "drawable",
    "lineage",
    "own_last",
    "panels",
    "paths",
    "strands",
    "takeover",
    "values",
    "window",
]
