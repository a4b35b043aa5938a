"""The watermark: event time less the allowed lateness, never back, never ahead of our own clock."""

import pytest

from models.touchpoint import Touchpoint
from models.watermark import Watermark
from tests.histories import touchpoint

LATENESS, TOLERANCE = 60, 300


def told(occurred_at: int, received_at: int) -> Touchpoint:
    t = touchpoint("t1", occurred_at, "page_view")
    return type(t)(**{**{f: getattr(t, f) for f in t.__struct_fields__}, "received_at": received_at})


@pytest.mark.parametrize(
    ("occurred_at", "received_at", "value"),
    [
        (1_000, 1_000, 940),
        (1_000, 5_000, 940),
        (1_050, 1_000, 990),
        (1_300, 1_000, 1_000),  # believed, and yet no further than when we had it
        (1_301, 1_000, 940),  # not believed: it happened when we had it
        (400, 500, 500),  # never back
    ],
)
def test_a_touchpoint_moves_the_watermark(occurred_at: int, received_at: int, value: int) -> None:
    assert Watermark(LATENESS, TOLERANCE, 500).observe(told(occurred_at, received_at)) == max(500, value)


def test_a_clock_record_and_the_wall_clock_move_it_forward_only() -> None:
    watermark = Watermark(LATENESS, TOLERANCE)
    assert watermark.clock(700) == 700
    assert watermark.wall(1_000) == 940
    assert watermark.clock(800) == 940
    assert watermark.wall(990) == 940
