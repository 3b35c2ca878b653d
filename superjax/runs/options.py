"""What a user asks of a run besides its sweep."""

from dataclasses import dataclass
from pathlib import Path

from superjax.errors import SweepError
from superjax.system import machine


@dataclass(frozen=True)
class Options:
    """The options of the command line.

    Attributes:
        out: the folder of all results; a sweep has its own inside.
        devices: how many devices to use, None for all.
        fresh: start over if the folder holds another run.
        figures_only: redraw a finished run, train nothing.
        strict: a model that diverged is a failure.
        same_code: a finished run of other code of the user's is refused; else it is redrawn, with a warning.
        distributed: how this process finds the others of the run (`hosts.join`), None if it is alone.
    """

    out: Path
    devices: int | None = None
    fresh: bool = False
    figures_only: bool = False
    strict: bool = False
    distributed: str | None = None
    same_code: bool = False

    def check(self) -> None:
        """Raises SweepError where options contradict each other, or one is impossible on any machine."""
        machine.check_devices(self.devices, None, "--devices")
        if self.fresh and self.figures_only:
            raise SweepError("--fresh trains anew and --figures-only trains nothing: give one of them")
