"""How long to wait before something is done again, so that it takes no more than its share of the time."""


def rest_s(took_s: float, share: float) -> float:
    """Seconds to rest after work that took `took_s`. `share`: of the time of work and rest together, in ]0, 1]."""
    return took_s * (1 / share - 1)


def pause_s(took_s: float, share: float, *, at_least_s: float, at_most_s: float) -> float:
    """Such a rest within bounds: work of which there is little is done often, much of it together."""
    return max(at_least_s, min(rest_s(took_s, share), at_most_s))
