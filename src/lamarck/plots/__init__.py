"""What a run looks like: the data behind each figure (`lamarck.plots.data`) and the figures (`lamarck.plots.figures`, with matplotlib)."""

from lamarck.plots.figures import hyperparameters, lineage, overview, save, values

__all__ = ["hyperparameters", "lineage", "overview", "save", "values"]
