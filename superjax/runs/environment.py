"""What a run is made with: versions and devices."""

import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from superjax.system import machine


def environment() -> dict[str, Any]:
    """Versions and devices of this process."""
    import jax

    devices = jax.devices()
    packages = ("superjax", "jax", "jaxlib", "optax", "equinox", "numpy", "xarray")
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "cores": machine.usable_cores(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def what_decides_digits(environment: dict[str, Any]) -> dict[str, str]:
    """Versions, and the kind of device without how many there are."""
    return {**environment["versions"], "device": environment["device"].partition(" x ")[2]}
