"""Labels of the emotion curve."""

from itertools import combinations

import pandas as pd

from dashboards.charts.emotion_curve import emotion_curve

LETTER = 0.03  # of a phase


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
