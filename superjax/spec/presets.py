"""Named sets of values that a sweep file can start from."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "notebook": {  # the protocol of the authors' public notebook (Elhage et al. 2022)
        "model": {"init_std": "notebook"},
        "train": {
            "objective": "minibatch",
            "batch": 1024,
            "steps": 10_000,
            "normalize": "features",
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "weight_decay": 0.01,
            "schedule": "constant",
        },
    },
}
