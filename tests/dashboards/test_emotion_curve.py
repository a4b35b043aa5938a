"""Labels of the emotion curve."""

from itertools import pairwise

import pandas as pd

from dashboards.charts.emotion_curve import emotion_curve


def test_labels_of_neighbours_stand_apart_and_those_at_the_edges_within() -> None:
    met = [("nps_submitted", -0.2), ("review_posted", 0.2), ("loyalty_reward_earned", 0.4), ("referral", 0.9)]
    touchpoints = pd.DataFrame(
        [
            {"phase": "Advocacy", "channel": "web", "type": name, "touchpoints": 10, "emotion": emotion,
             "emotion_p10": emotion, "emotion_p90": emotion, "place": place, "moment_of_truth": False}
            for place, (name, emotion) in enumerate(met)
        ]
    )  # fmt: skip
    drawn = emotion_curve(touchpoints, ["Advocacy"]).data[1]
    heights = [
        emotion + (0.12 if place.startswith("top") else -0.12)
        for (_, emotion), place in zip(met, drawn.textposition, strict=True)
    ]
    assert all(abs(a - b) >= 0.15 for a, b in pairwise(heights))
    assert drawn.textposition[0].endswith("right")
    assert drawn.textposition[-1].endswith("left")
