"""The tables of a sweep file as frozen models: what each key may be, its default, and what it means."""

import itertools
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from superjax.errors import near, refusal
from superjax.spec import numbers
from superjax.spec.emit import toml
from superjax.spec.names import Text
from superjax.spec.numbers import Correlation, Decay, Density, NonNegative, Normal, Positive, Ratio, Small, Weight
from superjax.spec.sizes import FEATURES, NODES

MODELS = ("linear", "relu_output")
KINDS: dict[str, Any] = {"<list>": list, "<table>": (dict, BaseModel), "<name>": str, "<number>": object}


def _tag(value: Any) -> str:
    """The alternative of a field that a value is meant for, so that an error speaks of that one only."""
    return next(tag for tag, kind in KINDS.items() if isinstance(value, kind))


LIST, TABLE, NAME, NUMBER = map(Tag, KINDS)
BY_KIND = Discriminator(_tag)
Count = Annotated[int, Field(ge=1, lt=2**31)]
Index = Annotated[int, Field(ge=0, lt=2**31)]
Dimension = Annotated[int, Field(ge=1, le=FEATURES)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Profile(Frozen):
    """Importances in geometric progression: feature i has ratio**i."""

    ratio: Ratio


Importance = Annotated[
    Annotated[Positive, NUMBER] | Annotated[list[numbers.Importance], LIST] | Annotated[Profile, TABLE], BY_KIND
]


class Model(Frozen):
    """The toy model, a built-in name or "pkg.module:Class"; the standard deviation of its initial weights."""

    kind: str = "relu_output"
    init_std: Annotated[Annotated[Positive, NUMBER] | Annotated[Literal["notebook"], NAME], BY_KIND] = Field(
        default=0.4, description='a number > 0 or "notebook"'
    )

    @model_validator(mode="after")
    def _check(self) -> "Model":
        if self.kind not in MODELS and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", self.kind):
            names = ", ".join(map(toml, MODELS))
            raise refusal(f'must be {names} or "pkg.module:Class"{near(self.kind, MODELS)}', "kind")
        return self


class Data(Frozen):
    """The distribution of the features, and the density of all of them or of each; of kind "sets", whose members are
    correlated, how many consecutive features make a set, and how strongly they are: 1 one coin for all, -1 as few at
    once as can be."""

    kind: Literal["independent", "sets"] = "independent"
    density: Annotated[Annotated[Density, NUMBER] | Annotated[list[Density], LIST], BY_KIND] = Field(
        default=1.0, description="a number in (0, 1] or a list of them, one a feature"
    )
    set_size: Count = 1
    correlation: Correlation = 0.0


class Train(Frozen):
    """How one model is trained. `batch`: samples a step; `skip_empty`: minibatches without inputs that are all 0, whose
    loss is added exactly; `nodes`: quadrature nodes a feature, None chooses;
    `streams`: independent sequences of batches among the restarts; `snapshots`: steps whose weights are kept;
    `normalize`: what the loss is divided by before the optimiser sees it."""

    objective: Literal["exact", "quasi", "minibatch"] = "exact"
    steps: Count = 1000
    batch: Count = 1024
    skip_empty: bool = False
    nodes: Annotated[int, Field(ge=1, le=NODES)] | None = None
    streams: Count = 1
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "lion"] = "adam"
    learning_rate: Small = 0.03
    weight_decay: NonNegative = 0.0
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: Small = 1e-8
    momentum: Decay = 0.0
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    warmup_steps: Index = 0
    clip_norm: Positive | None = None
    normalize: Literal["density", "features", "none"] = "density"
    snapshots: Annotated[Annotated[Count, NUMBER] | Annotated[list[Index], LIST], BY_KIND] = Field(
        default=[], description="a number of log-spaced steps or an increasing list of steps"
    )

    @model_validator(mode="after")
    def _check(self) -> "Train":
        if self.warmup_steps > self.steps:
            raise refusal(f"must be <= train.steps = {self.steps}", "warmup_steps")
        if isinstance(self.snapshots, int) and self.snapshots > self.steps:
            raise refusal(f"must be <= train.steps = {self.steps}, there are no more steps", "snapshots")
        steps = self.snapshots if isinstance(self.snapshots, list) else []
        if any(a >= b for a, b in itertools.pairwise(steps)) or steps and steps[-1] > self.steps:
            raise refusal(f"must increase strictly, to at most train.steps = {self.steps}", "snapshots")
        return self


class Family(Frozen):
    """A solution that is followed along an axis: from the axis's value nearest to `start` both ways, every cell
    starting from the weights found in the one before. `W` is where it begins: the name of a solution ("2 digons":
    ideal polytopes of norm 1, of the first features) or weights, n_hidden rows of n_features numbers."""

    W: Annotated[Annotated[list[list[Weight]], LIST] | Annotated[str, NAME], BY_KIND] = Field(
        description='the name of a solution, as "2 digons", or n_hidden rows of n_features numbers'
    )
    along: str
    start: Normal


class Phases(Frozen):
    """Thresholds: a feature is represented from this norm, superposed from this interference."""

    represented: Positive = 0.5
    superposed: Positive = 0.1


class Plot(Frozen):
    """Drawing: maps are hatched where more than this fraction of restarts disagree; dots per inch."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    dpi: Annotated[int, Field(ge=1, le=1200)] = 200


class Head(Frozen):
    """What a sweep file says of itself; a `study` is one of `superjax.studies` or pkg.module, "" is none."""

    title: Text = ""
    section: Text = ""
    study: str | None = None
