"""Experiences: what of a touchpoint is known to have hurt, without what only says that a conversion did not come.

An attempt that a conversion completes (a cart, a checkout) is abandoned when no conversion comes. To say of such an
abandonment that those who suffered it convert less often is to say nothing.
"""

from models.journey_model import JourneyModel
from warehouse.binds import Binds

ABANDONMENT = "abandonment"


def pains(model: JourneyModel, binds: Binds) -> str:
    """SQL, of the view touchpoints: the kinds of pain points that say more than that no conversion came."""
    telling = [kind.kind for kind in model.attempts if not kind.completed_by & model.converting_types]
    said = ", ".join(binds.bound(kind) for kind in telling) or "''"
    abandoned = (
        f"arrayExists((kind, outcome) -> outcome = 'abandoned' and kind in ({said}),"
        " attempt_kinds, attempt_outcomes)"
    )
    return f"arrayFilter(kind -> kind != '{ABANDONMENT}' or {abandoned}, pain_kinds)"
