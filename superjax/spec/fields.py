"""The tables of a sweep file as frozen models: what each key may be, its default, and what it means."""

import itertools
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

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
    Must,
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
    Must("a number > 0, a list of numbers >= 0, or {ratio = a number > 0} or {zipf = a number}"),
]


class ModelKind(Kind):
    """The toy model, a built-in name or "pkg.module:Class", and its options; the standard deviation of its initial
    weights, and what is added to its initial bias."""

    part: ClassVar[str] = "model"
    kind: str = Field("relu_output", description="the toy model")
    init_std: Annotated[
        Annotated[Positive, NUMBER] | Annotated[Literal["notebook"], NAME],
        BY_KIND,
        Must('a number > 0 or "notebook"'),
    ] = Field(
        0.4,
        description='standard deviation of the initial weights; `"notebook"` is that of the authors\' notebook, '
        "√(2/((n + instances) m)), where an axis sweeps m with the largest m",
    )
    init_instances: Count = Field(
        10,
        description="how many models the notebook's standard deviation counts as trained at once; its authors train "
        "10 to 20",
    )
    init_bias: Weight = Field(0.0, description="a number that is added to the initial bias `b`")


if TYPE_CHECKING:
    Model = Any
else:
    Model = table("Model", ModelKind, all_options("model"))


class Train(Frozen):
    """How one model is trained."""

    objective: Literal["exact", "quasi", "minibatch"] = Field(
        "exact",
        description="`exact`: the expected loss itself; `quasi`: the mean over a fixed quasi-random sample; "
        "`minibatch`: fresh samples at every step",
    )
    steps: Count = Field(1000, description="how many steps the optimiser takes")
    batch: Count = Field(1024, description="samples a step")
    skip_empty: bool = Field(
        False,
        description="whether samples that are all 0 are left out and their part of the loss is added exactly: as "
        "unbiased, with 1/50 of the variance at n_features = 2 and density 0.01",
    )
    nodes: Annotated[int, Field(ge=1, le=NODES)] | None = Field(
        None, description="quadrature nodes a feature; by default chosen by n_features"
    )
    evaluation_samples: Count | None = Field(
        None,
        description="samples that the stored loss is the mean of; by default it is enumerated where few features "
        "allow that, and else the mean of up to 131 072, which takes long where models are many",
    )
    streams: Count = Field(
        1,
        description="independent sequences of minibatches, at most one a restart: an override of `restarts` below it "
        "lowers it too; restart k is trained on stream k mod `streams`",
    )
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "lion"] = Field("adam", description="the optimiser of optax")
    learning_rate: Small = Field(0.03, description="the learning rate, before the schedule")
    weight_decay: Normal = Field(0.0, description="weight decay; a negative one lets weights grow")
    decayed: Literal["all", "weights"] = Field(
        "all", description="what `weight_decay` acts on: all arrays, or `weights`, those of two or more dimensions"
    )
    b1: Decay = Field(0.9, description="how slowly the running mean of gradients forgets")
    b2: Decay = Field(0.999, description="the same of squared gradients")
    eps: Small = Field(1e-8, description="the small number in the denominator of an update")
    momentum: Decay = Field(0.0, description="the momentum of `sgd`")
    schedule: Literal["constant", "cosine", "linear"] = Field(
        "cosine", description="how the learning rate falls to 0 by the last step; `constant` keeps it"
    )
    warmup_steps: Index = Field(0, description="over how many first steps the learning rate rises from 0")
    clip_norm: Positive | None = Field(None, description="a gradient with a larger norm is scaled down to this one")
    normalize: Literal["density", "features", "none"] = Field(
        "density",
        description="what the loss is divided by before the optimiser sees it: the mean density, the number of "
        "outputs, or nothing",
    )
    snapshots: Annotated[
        Annotated[Count, NUMBER] | Annotated[list[Index], LIST],
        BY_KIND,
        Must("a number of log-spaced steps or an increasing list of steps"),
    ] = Field([], description="the steps after which weights are kept: a list of them, or how many, log-spaced")
    starts: Literal["common", "independent"] = Field(
        "common",
        description="`common`: restart k starts from the same weights in all cells, which makes cells comparable; "
        "`independent`: from others in every cell, so that fractions of restarts say how likely an outcome is",
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
    starting from the weights found in the one before."""

    W: Annotated[
        Annotated[list[list[Weight]], LIST] | Annotated[str, NAME],
        BY_KIND,
        Must('the name of a solution, as "2 digons", "best", or n_hidden rows of n_features numbers'),
    ] = Field(
        description='where it begins: the name of a solution, as `"2 digons"` or `"triangle + digon"` (ideal polytopes '
        'of norm 1, of the first features); `"best"`, the restart of lowest loss there; or weights, `n_hidden` rows of '
        "`n_features` numbers"
    )
    along: str = Field(description="the name of the axis that it is followed along")
    start: Normal = Field(description="the value of the axis to begin at, or the nearest one")
    method: Literal["newton"] | None = Field(
        None,
        description="how it is followed: by gradient steps; or by damped Newton steps on the loss as it is stored, "
        "which converge also where a minimum begins or ceases to exist, for models of up to 64 numbers",
    )
    kick: Positive | None = Field(
        None,
        description="standard deviation of random numbers that are added to its weights in every cell, and subtracted, "
        "before it is followed there, so that it leaves what is no minimum any more; by default none",
    )


class Autoencoder(Frozen):
    """A dictionary (sparse autoencoder) for the hidden activations of every model, trained with Adam, whose learning
    rate falls along a cosine."""

    width: Dimension = Field(description="the number of its latents")
    kind: Literal["l1", "topk"] = Field(
        "l1",
        description="`l1` adds `penalty` times the sum of the latents to the squared error; `topk` keeps the `k` "
        "largest latents",
    )
    penalty: NonNegative = Field(0.1, description="how much the sum of the latents counts")
    k: Count = Field(1, description="how many latents are kept")
    start: Literal["random", "features"] = Field(
        "random",
        description="the directions that latents begin with: `random` ones; or `features`, latent k that of feature k, "
        "and random ones for further latents",
    )
    fixed: bool = Field(
        False,
        description="directions stay as they begin, and the encoder and biases alone are trained: a dictionary of "
        "random directions, or of the features themselves, to compare others with",
    )
    steps: Count = Field(2000, description="how many steps it is trained")
    batch: Count = Field(1024, description="fresh activations a step")
    learning_rate: Small = Field(0.003, description="the learning rate at first")

    @model_validator(mode="after")
    def _check(self) -> "Autoencoder":
        if self.k > self.width:
            raise refusal(f"must be <= autoencoder.width = {self.width}", "k")
        return self


class Attack(Frozen):
    """L2 attacks on every model: what is added to all inputs to make its loss larger."""

    size: Positive = Field(0.1, description="the norm of an attack, as a fraction of the mean norm of an input")
    steps: Count = Field(100, description="how many steps projected gradient ascent takes")
    starts: Count = Field(10, description="from how many random directions it starts")
    random: Count = Field(1000, description="how many random directions are tried")
    found_on: Count = Field(2048, description="inputs that ascent climbs on, and random directions are tried on")
    chosen_on: Count = Field(16384, description="other inputs, on which the most harmful of what was found is chosen")
    scored_on: Count = Field(
        65536, description="inputs that the chosen ones are scored on; their number decides the standard errors"
    )


class Boundary(Frozen):
    """Where a classification of models changes over two axes. The grid of the case is refined there: squares whose
    corners differ in class are halved until they are small."""

    of: Text = Field(
        "superposition",
        description="what is classified: `superposition`, `phases` (of all features), `phase[i]` (of one feature, as "
        '`phase[-1]`), `antipodal`, `solution`, `diverged`, or a function of yours, `"pkg.module:function"`',
    )
    by: Literal["optimum", "best", "most"] = Field(
        "optimum",
        description="which model has the class of a point: `optimum`, the best solution that is found by following "
        "those of both sides of the boundary; `best`, the best of the restarts, which are trained at every new point; "
        "`most`, the class that most restarts have",
    )
    resolution: Annotated[float, Field(gt=0, lt=1)] = Field(
        1e-3,
        description='the largest side of the smallest squares: along an axis with `scale = "log"` in its natural '
        "logarithm, else as a fraction of the axis's length",
    )
    band: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1,
        description="the same for the band of the restarts, the lines inside of which 10% and 90% of them have a "
        "class; 0 for no band",
    )
    points: Count = Field(
        100_000,
        description="how many points are tried at most; a search that needs more, as of a boundary that is a fractal, "
        "ends at larger squares, and the run says so",
    )
    x: Text = Field("", description="the first of the two axes; the last but one by default")
    y: Text = Field("", description="the second; the last by default. Points of further axes have a plane each")


class Phases(Frozen):
    """Thresholds of the phases, and what they are phases of."""

    represented: Positive = Field(0.5, description="a feature is represented from this norm on")
    superposed: Positive = Field(0.1, description="a represented feature is superposed from this interference on")
    array: Text = Field(
        "W",
        description="the array of the model that has a direction for every feature, of dimensions hidden and feature "
        'in either order: `"W1"` or `"W2"` of `two_layer`, or one of your own model',
    )

    def thresholds(self) -> dict[str, float]:
        """The thresholds alone, by name."""
        return self.model_dump(exclude={"array"})


class Plot(Frozen):
    """Drawing."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="maps are hatched where more than this fraction of restarts disagree with the optimum"
    )
    dpi: Annotated[int, Field(ge=1, le=1200)] = Field(
        200, description="dots per inch, the same for all cases; fewer for a figure of more than 100 million pixels"
    )
    format: Literal["png", "svg", "pdf"] = Field(
        "png", description="the same for all cases: `svg` or `pdf` is written beside every PNG"
    )
    show: Annotated[list[Text], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = Field(
        [],
        description="quantities of the dataset to be drawn besides, into `CASE_show.png`: lines along one axis, maps "
        'of two, as `["loss", "superposition_fraction"]`',
    )
    x: Text = Field("", description="the axis along x of plain maps and of the explorer; the last but one by default")
    y: Text = Field("", description="the axis along y; the last by default. Further axes have rows, or sliders")


class Head(Frozen):
    """What a sweep file says of itself."""

    title: Text = Field("", description="the heading of the figures")
    section: Text = Field("", description="the section of the paper that it is about")
    about: Text = Field("", description="what it shows, for the list of sweeps")
    takes: Text = Field("", description="how long it takes, for the list of sweeps")
    study: str | None = Field(
        None, description='figures and claims: a packaged study, your own as `pkg.module`, or `""` for plain maps'
    )
