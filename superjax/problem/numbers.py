"""Numbers as the float32 that they become: what is refused because training would not see it as it was written."""

import math
import struct
from typing import Annotated

from pydantic import AfterValidator, Field

from superjax.errors import refusal

SMALLEST, LARGEST = 2.0**-126, 2.0**128 * (1 - 2.0**-24)  # XLA takes what is smaller for 0
SCALE = 1e-18, 1e18  # what is squared in training: gradients, weights, and all that they are multiplied by
LEAST_DRAWN = 2.0**-23  # a uniform number of a minibatch is a multiple of it


def single(value: float) -> float:
    """The float32 that a number becomes, infinite where there is none so large."""
    try:
        (rounded,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return rounded if abs(rounded) >= SMALLEST else 0.0


def _normal(value: float) -> float:
    if value and not SMALLEST <= abs(value) <= LARGEST:
        raise refusal("must be 0 or of a size from 1.2e-38 to 3.4e+38: others are 0 or infinite in float32")
    return value


def _below_one(value: float) -> float:
    if single(value) == 1:
        raise refusal("must be at most 0.99999994: it is 1 in float32")
    return _normal(value)


def _squared(value: float) -> float:
    if value and not SCALE[0] <= abs(value) <= SCALE[1]:
        raise refusal("must be of a size from 1e-18 to 1e+18: the square of others is 0 or infinite in float32")
    return value


Normal = Annotated[float, AfterValidator(_normal)]
Small = Annotated[float, Field(gt=0), AfterValidator(_normal)]
Ratio = Annotated[float, Field(gt=0)]
Power = Annotated[float, Field(ge=1, le=64)]
Exponent = Annotated[float, Field(ge=-64, le=64)]
Positive = Annotated[float, Field(gt=0), AfterValidator(_squared)]
NonNegative = Annotated[float, Field(ge=0), AfterValidator(_normal)]
Importance = Annotated[float, Field(ge=0, le=SCALE[1]), AfterValidator(_normal)]
Density = Annotated[float, Field(gt=0, le=1), AfterValidator(_squared)]
Decay = Annotated[float, Field(ge=0, lt=1), AfterValidator(_below_one)]
Correlation = Annotated[float, Field(ge=-1, le=1), AfterValidator(_normal)]
Weight = Annotated[float, AfterValidator(_squared)]


def powers_fit(ratio: float, count: int) -> str:
    """What is wrong with the powers 0 ... count - 1 of a ratio as float32, "" if nothing is: late ones may be 0."""
    step = math.log(ratio)
    if (count - 1) * step > math.log(SCALE[1]):
        return "overflow"
    return "vanish" if min(count - 1, 2) * step < math.log(SMALLEST) else ""
