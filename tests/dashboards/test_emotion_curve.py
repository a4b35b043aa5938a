"""Labels of the emotion curve."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from dashboards.charts.emotion_curve import emotion_curve

LETTER = 0.03  # of a phase
Met = Sequence[tuple[str, float]]  # types, and how they feel


def curve(phase: str, met: Met) -> Any:
    """The curve of one phase with these touchpoints, in their order."""
    touchpoints = pd.DataFrame(
        [
            {"phase": phase, "channel": "web", "type": name, "touchpoints": 10, "emotion": emotion,
             "emotion_p10": emotion, "emotion_p90": emotion, "place": place, "moment_of_truth": False}
            for place, (name, emotion) in enumerate(met)
        ]
    )  # fmt: skip
    return emotion_curve(touchpoints, [phase]).data[1]


def along(x: float, name: str, place: str) -> tuple[float, float]:
    """From where to where a label goes."""
    wide = len(name) * LETTER
    left = {"left": x - wide, "center": x - wide / 2, "right": x}[place.split()[1]]
    return left, left + wide


def height(emotion: float, place: str) -> float:
    """Where the middle of a label is."""
    return emotion + {"top": 0.12, "middle": 0.0, "bottom": -0.12}[place.split()[0]]


def test_no_label_stands_on_another_or_is_cut_off() -> None:
    met = [("nps_submitted", -0.2), ("review_posted", 0.2), ("loyalty_reward_earned", 0.4), ("referral", 0.9)]
    drawn = curve("Advocacy", met)
    labels = [
        (*along(x, name, place), height(emotion, place))
        for (name, emotion), x, place in zip(met, drawn.x, drawn.textposition, strict=True)
    ]
    assert all(left >= 0 and right <= 1 for left, right, _ in labels)
    for (left, right, at), (other_left, other_right, other_at) in combinations(labels, 2):
        assert right <= other_left or other_right <= left or abs(at - other_at) >= 0.15


def test_no_label_stands_on_the_curve_where_there_is_room_beside_it() -> None:
    drawn = curve("Awareness", [("ad_click", -0.8), ("page_view", 0.0), ("chat_started", 0.8)])
    # in the middle of a steep rise the line goes through what stands straight above or below
    assert drawn.textposition[1] in ("top left", "bottom right", "middle left", "middle right")
