"""When a device's clock is corrected, each edge by itself."""

import pytest

from ingest.skew import corrected

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW = 100 * DAY

FIVE, WEEK, TWO_DAYS = 5 * MINUTE, 7 * DAY, 2 * DAY

CASES = {
    # the rule                          happened               sent               retries  corrected by
    "no sending time, no correction":   (NOW - 5,              None,              0,       None),
    "a slow batch of five minutes":     (NOW - HOUR,           NOW - FIVE,        0,       None),
    "a millisecond more is skew":       (NOW - HOUR,           NOW - FIVE - 1,    0,       FIVE + 1),
    "a clock ahead is set back":        (NOW + HOUR,           NOW + HOUR,        0,       -HOUR),
    "just less than seven days":        (NOW - WEEK,           NOW - WEEK + 1,    0,       WEEK - 1),
    "seven days are none":              (NOW - WEEK,           NOW - WEEK,        0,       None),
    "48 hours before the sending":      (NOW - TWO_DAYS - HOUR, NOW - HOUR,       0,       HOUR),
    "before that it is an import":      (NOW - TWO_DAYS - HOUR - 1, NOW - HOUR,   0,       None),
    "a retry's delay is no skew":       (NOW - HOUR,           NOW - HOUR,        1,       None),
}  # fmt: skip


@pytest.mark.parametrize(("at", "sent_at", "retries", "by"), CASES.values(), ids=CASES.keys())
def test_skew(at: int, sent_at: int | None, retries: int, by: int | None) -> None:
    expected = (at, "source") if by is None else (at + by, "skew_corrected")
    assert corrected(at, sent_at, NOW, retries=retries) == expected
