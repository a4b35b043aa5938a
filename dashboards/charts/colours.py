"""One scale of colour for feelings: red for pain, grey for neither, green for delight."""

_PAIN = (201, 42, 42)
_NEUTRAL = (173, 165, 147)
_DELIGHT = (47, 133, 90)

INK = "#22302b"
MUTED = "#6f7b74"
PAPER = "#ffffff"
PAIN = "#c92a2a"
DELIGHT = "#2f855a"


def of_weight(weight: float) -> str:
    """CSS colour of an emotion from −1 (pain, red) by 0 (grey) to +1 (delight, green)."""
    end = _DELIGHT if weight >= 0 else _PAIN
    # the middle of the scale is where most touchpoints lie: the root spreads small feelings apart
    share = min(abs(weight), 1.0) ** 0.6
    return "rgb({}, {}, {})".format(
        *(round(neutral + (full - neutral) * share) for neutral, full in zip(_NEUTRAL, end, strict=True))
    )


def of_severity(severity: float) -> str:
    """CSS colour of a pain point's severity from 0 (green) by amber to 1 (red)."""
    hue = 130 - 130 * min(max(severity, 0.0), 1.0)
    return f"hsl({hue:.0f}, 62%, 42%)"
