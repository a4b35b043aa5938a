"""Labels of the emotion curve."""

from itertools import combinations

import pandas as pd

from dashboards.charts.emotion_curve import emotion_curve

LETTER = 0.027  # of a phase


def along(x: float, name: str, place: str) -> tuple[float, float]:
    """From where to where a label goes."""
    wide = len(name) * LETTER
    left = {"left": x - wide, "center": x - wide / 2, "right": x}[place.split()[1]]
    return left, left + wide


def test_no_label_stands_on_another_or_is_cut_off() -> None:
    met = [("nps_submitted", -0.2), ("review_posted", 0.2), ("loyalty_reward_earned", 0.4), ("referral", 0.9)]
    touchpoints = pd.DataFrame(
        [
            {"phase": "Advocacy", "channel": "web", "type": name, "touchpoints": 10, "emotion": emotion,
             "emotion_p10": emotion, "emotion_p90": emotion, "place": place, "moment_of_truth": False}
            for place, (name, emotion) in enumerate(met)
        ]
    )  # fmt: skip
    drawn = emotion_curve(touchpoints, ["Advocacy"]).data[1]
    labels = [
        (*along(x, name, place), emotion + (0.12 if place.startswith("top") else -0.12))
        for (name, emotion), x, place in zip(met, drawn.x, drawn.textposition, strict=True)
    ]
    assert all(left >= 0 and right <= 1 for left, right, _ in labels)
    for (left, right, height), (other_left, other_right, other_height) in combinations(labels, 2):
        assert right <= other_left or other_right <= left or abs(height - other_height) >= 0.15


def test_no_label_stands_on_the_curve_where_there_is_room_beside_it() -> None:
    met = [("ad_click", -0.8), ("page_view", 0.0), ("chat_started", 0.8)]
    touchpoints = pd.DataFrame(
        [
            {"phase": "Awareness", "channel": "web", "type": name, "touchpoints": 10, "emotion": emotion,
             "emotion_p10": emotion, "emotion_p90": emotion, "place": place, "moment_of_truth": False}
            for place, (name, emotion) in enumerate(met)
        ]
    )  # fmt: skip
    drawn = emotion_curve(touchpoints, ["Awareness"]).data[1]
    # in the middle of a steep rise the line goes through what stands straight above or below
    assert drawn.textposition[1] in ("top left", "bottom right", "middle left", "middle right")
