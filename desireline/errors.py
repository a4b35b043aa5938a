"""What goes wrong when the parts are put together.

DesirelineError
├── SettingsError               a setting is not allowed (desireline.settings)
├── UpError                     `desireline up` cannot start or go on
├── NoWarehouse                 a query finds no warehouse to ask
├── NotCorrected                a decision about identities is not taken
└── CheckFailed                 a check did not hold; exit code 3
"""

from models.errors import DesirelineError


class UpError(DesirelineError):
    """`desireline up` cannot start or go on; nothing of it is left behind."""


class NoWarehouse(DesirelineError):
    """There is no warehouse to ask, or it does not answer."""


class NotCorrected(DesirelineError):
    """A decision about identities that cannot be made as it was said, or that nobody takes."""


class CheckFailed(DesirelineError):
    """A check that was asked for does not hold, as `reconcile` finding a touchpoint missing."""
