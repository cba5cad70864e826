"""The search space: which hyperparameters there are, which values they may take, and how values are drawn and moved."""

from lamarck.space.constraints import Constraint, Expression, Function, Unresolved
from lamarck.space.discrete import Categorical, Constant
from lamarck.space.parameter import Parameter
from lamarck.space.real import Float
from lamarck.space.space import HParams, Space, Value
from lamarck.space.whole import Int
from lamarck.space.widening import widened

__all__ = [
    "Categorical",
    "Constant",
    "Constraint",
    "Expression",
    "Float",
    "Function",
    "HParams",
    "Int",
    "Parameter",
    "Space",
    "Unresolved",
    "Value",
    "widened",
]
