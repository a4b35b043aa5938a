"""What goes wrong when the parts are put together.

DesirelineError
├── SettingsError               a setting is not allowed (desireline.settings)
├── UpError                     `desireline up` cannot start or go on
├── NoWarehouse                 a query finds no warehouse to ask
├── NotCorrected                a decision about identities is not taken
├── NoSpool                     `reconcile` finds no spool to compare with
└── CheckFailed                 a check did not hold; exit code 3
"""

from models.errors import DesirelineError


class UpError(DesirelineError):
    """`desireline up` cannot start or go on; nothing of it is left behind."""


class NoWarehouse(DesirelineError):
    """There is no warehouse to ask, or it does not answer."""


class NotCorrected(DesirelineError):
    """A decision about identities that cannot be made as it was said, or that nobody takes."""


class NoSpool(DesirelineError):
    """A folder is no spool: no collector has ever written there."""

    def __init__(self, folder: str) -> None:
        super().__init__(
            "there is no spool",
            where=folder,
            remedy="Name the data folder with --data (`make demo` has .demo), or the spool with --spool.",
        )


class CheckFailed(DesirelineError):
    """A check that was asked for does not hold, as `reconcile` finding a touchpoint missing."""
