"""What a case does with its cells after training: one file for each stage."""

from superjax.runs.stages.attack import Attacks
from superjax.runs.stages.autoencoder import Autoencoders
from superjax.runs.stages.base import Found, Running, Stage, Trainee
from superjax.runs.stages.boundary import Boundaries
from superjax.runs.stages.families import Families
from superjax.runs.stages.optimum import Optima
from superjax.spec import Case

STAGES: tuple[type[Stage], ...] = (Optima, Families, Boundaries, Autoencoders, Attacks)


def stages_of(case: Case) -> list[type[Stage]]:
    """The stages that a case asks for, in their order."""
    return [stage for stage in STAGES if stage.asked(case)]


__all__ = ["STAGES", "Found", "Running", "Stage", "Trainee", "stages_of"]
