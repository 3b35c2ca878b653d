"""What one model is trained on: the model, its inputs, what is minimised, and how the mean of that is taken.

Each part is a class, and each built-in member of a part has a file. A user's own inherits the class of its part from
here, and names the options of its table in a sweep file in a class `Options`, of the types that are here too.
"""

from superjax.problem.data import Distribution
from superjax.problem.models import ToyModel
from superjax.problem.numbers import Correlation, Density, NonNegative, Normal, Positive
from superjax.problem.options import Count, Options, PerFeature
from superjax.problem.targets import Target
from superjax.problem.terms import Term
from superjax.problem.terms.base import Error

__all__ = [
    "Correlation",
    "Count",
    "Density",
    "Distribution",
    "Error",
    "NonNegative",
    "Normal",
    "Options",
    "PerFeature",
    "Positive",
    "Target",
    "Term",
    "ToyModel",
]
