"""The tables of a sweep file as frozen models: what each key may be, its default, and what it means."""

import itertools
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from superjax.errors import refusal
from superjax.problem import numbers
from superjax.problem.numbers import Decay, NonNegative, Normal, Positive, Small, Weight
from superjax.problem.options import (
    BY_KIND,
    LIST,
    NAME,
    NUMBER,
    PER_FEATURE,
    TABLE,
    Count,
    Frozen,
    Index,
    Powers,
)
from superjax.spec.names import Text
from superjax.spec.parts import Kind, all_options, table
from superjax.spec.sizes import FEATURES, NODES

Dimension = Annotated[int, Field(ge=1, le=FEATURES)]


Importance = Annotated[
    Annotated[Positive, NUMBER] | Annotated[list[numbers.Importance], LIST] | Annotated[Powers, TABLE],
    BY_KIND,
    PER_FEATURE,
]


class ModelKind(Kind):
    """The toy model, a built-in name or "pkg.module:Class", and its options; the standard deviation of its initial
    weights, and what is added to its initial bias."""

    part: ClassVar[str] = "model"
    kind: str = "relu_output"
    init_std: Annotated[Annotated[Positive, NUMBER] | Annotated[Literal["notebook"], NAME], BY_KIND] = Field(
        default=0.4, description='a number > 0 or "notebook"'
    )
    init_bias: Weight = 0.0


if TYPE_CHECKING:
    Model = Any
else:
    Model = table("Model", ModelKind, all_options("model"))


class Train(Frozen):
    """How one model is trained. `batch`: samples a step; `skip_empty`: minibatches without inputs that are all 0, whose
    loss is added exactly; `nodes`: quadrature nodes a feature, None chooses;
    `streams`: independent sequences of batches among the restarts; `snapshots`: steps whose weights are kept;
    `normalize`: what the loss is divided by before the optimiser sees it; `decayed`: what `weight_decay` concerns, all
    arrays or those of two dimensions and more."""

    objective: Literal["exact", "quasi", "minibatch"] = "exact"
    steps: Count = 1000
    batch: Count = 1024
    skip_empty: bool = False
    nodes: Annotated[int, Field(ge=1, le=NODES)] | None = None
    streams: Count = 1
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "lion"] = "adam"
    learning_rate: Small = 0.03
    weight_decay: Normal = 0.0
    decayed: Literal["all", "weights"] = "all"
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


class Autoencoder(Frozen):
    """A dictionary (sparse autoencoder) for the hidden activations of every model. `width`: its latents; `kind`: "l1"
    adds `penalty` times the sum of the latents to the squared error, "topk" keeps the largest `k`. Adam trains it for
    `steps` steps of `batch` fresh activations each; its `learning_rate` falls along a cosine."""

    width: Dimension
    kind: Literal["l1", "topk"] = "l1"
    penalty: NonNegative = 0.1
    k: Count = 1
    steps: Count = 2000
    batch: Count = 1024
    learning_rate: Small = 0.003

    @model_validator(mode="after")
    def _check(self) -> "Autoencoder":
        if self.k > self.width:
            raise refusal(f"must be <= autoencoder.width = {self.width}", "k")
        return self


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
