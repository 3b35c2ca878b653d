"""What is minimised, one file for each term of it."""

from superjax.problem.terms.base import Term
from superjax.problem.terms.l1 import L1
from superjax.problem.terms.power import Power
from superjax.problem.terms.squared import Squared

TERMS: dict[str, type[Term]] = {"squared": Squared, "power": Power, "l1": L1}

__all__ = ["L1", "TERMS", "Power", "Squared", "Term"]
