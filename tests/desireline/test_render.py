"""How answers are shown."""

import io
import json
import re
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from desireline.render import Format, cell, duration, show
from warehouse.answer import Measures, answer

ANSWER = pd.DataFrame(
    {
        "step": np.array([1, 2], dtype=np.uint64),
        "name": ["add_to_cart", None],
        "rate": [1.0, float("nan")],
        "median_s": [90.5, float("nan")],
        "at": [pd.Timestamp("2026-11-02 13:00", tz="UTC"), pd.NaT],
        "amount": [Decimal("12.50"), None],
        "kinds": [["loop", "refund"], []],
    }
)


def shown(answer: pd.DataFrame, format: Format) -> str:
    out = io.StringIO()
    show(answer, format, to=out)
    return out.getvalue()


def test_json_is_an_array_of_objects_with_null_for_what_is_missing() -> None:
    assert json.loads(shown(ANSWER, Format.json)) == [
        {"step": 1, "name": "add_to_cart", "rate": 1.0, "median_s": 90.5, "at": "2026-11-02T13:00:00.000Z",
         "amount": "12.50", "kinds": ["loop", "refund"]},
        {"step": 2, "name": None, "rate": None, "median_s": None, "at": None, "amount": None, "kinds": []},
    ]  # fmt: skip


def test_csv_has_a_header_and_leaves_missing_values_empty() -> None:
    lines = shown(ANSWER.drop(columns="kinds"), Format.csv).splitlines()
    assert lines == [
        "step,name,rate,median_s,at,amount",
        "1,add_to_cart,1.0,90.5,2026-11-02T13:00:00.000Z,12.50",
        "2,,,,,",
    ]


def test_a_table_is_for_people_and_loses_nothing() -> None:
    text = shown(ANSWER, Format.table)
    assert "100.0%" in text
    assert "1 min 30 s" in text
    texts = shown(
        pd.DataFrame([{f"column_{n}": f"a long text{n} that goes on" for n in range(12)}]), Format.table
    )
    assert max(map(len, texts.splitlines())) <= 100
    assert all(f"text{n}" in texts.split() for n in range(12))
    figures = shown(pd.DataFrame([{f"column_{n}": 10**9 + n for n in range(12)}]), Format.table)
    assert all(f"1,000,000,0{n:02}" in figures.split() for n in range(12))


def test_each_row_of_a_comparison_is_in_the_unit_of_its_measure() -> None:
    rows = [
        ("rate", 0.5, 0.54, 0.04, -0.065, 0.165),
        ("count", 199.0, 204.0, 5.0, -35.15, 45.17),
        ("median_s", 234.0, 216.0, -18.0, -64.0, 16.0),
        ("cost", 6052.25, 11047.0, 4994.75, -894.63, np.nan),
        ("share", 0.25, 0.5, 0.25, 0.125, 0.375),
    ]
    columns = ["measure", "a", "b", "difference", "lo", "hi"]
    of_a = answer(pd.DataFrame(), "", None, measures=Measures(counts=("count",)))
    compared = answer(pd.DataFrame(rows, columns=columns), "", None, parts={"a": of_a, "b": of_a})
    rate, count, median, cost, share = shown(compared, Format.table).splitlines()[3:8]
    assert all(text in rate for text in ("50.0%", "54.0%", "4.0%", "-6.5% – 16.5%"))
    assert count.split() == ["count", "199", "204", "5", "-35.15", "–", "45.17"]
    assert all(text in median for text in ("3 min 54 s", "3 min 36 s", "−18 s", "−1 min 4 s – 16 s"))
    assert all(text in cost for text in ("6,052.25", "11,047.00", "-894.63 – –"))
    assert all(text in share for text in ("25.0%", "50.0%", "12.5% – 37.5%"))
    assert "%" not in count + median + cost


def test_in_a_narrow_terminal_lines_break_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    answer = pd.DataFrame(
        [{"at": pd.Timestamp("2026-11-02 13:00", tz="UTC"), "type": "call_answered", "what": "a text " * 20}]
    )
    lines = shown(answer, Format.table).splitlines()
    assert any("2026-11-02" in line and "call_answered" in line for line in lines)


@pytest.mark.parametrize("width", [80, 100])
def test_a_terminal_that_is_too_narrow_loses_no_column(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    numbers = {name: [1_234] for name in ("entered", "forward", "back", "lost", "open")}
    answer = pd.DataFrame(
        {"campaign": ["newsletter-march"], "phase": ["Consideration"], **numbers, "rate": [0.5]}
        | {"lo": [0.45], "hi": [0.55], "converted": [97]}
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown(answer, Format.table))
    assert "converted" in text
    assert "97" in text
    assert "45.0% – 55.0%" in text
    if width == 100:
        assert "newsletter-march" in text
        assert max(map(len, text.splitlines())) <= width


def test_long_texts_take_the_room_that_others_leave() -> None:
    """As in a list of what was rejected: none of its columns is short, and one is a sentence."""
    answer = pd.DataFrame(
        {
            "received_at": [pd.Timestamp("2026-11-02 13:00:05", tz="UTC")],
            "reason": ["same_id_other_content"],
            "source": ["segment"],
            "source_instance": ["web-production"],
            "channel": ["billing"],
            "detail": [
                "amount is 12.00, and was 13.00 at https://shop.example.org/checkout/confirmation?step=3"
            ],
            "id": ["0c9d3a1d-8f3a-5d58-a8ab-cb02fe28d3c1"],
        }
    )
    text = shown(answer, Format.table)
    assert max(map(len, text.splitlines())) <= 100
    assert {"web-production", "confirmation?step=3", "13:00:05"} <= set(text.split())


def test_where_there_is_little_room_names_are_broken_where_they_have_parts() -> None:
    answer = pd.DataFrame({"step": ["product_view > add_to_cart"], "measure": ["rate_from_previous"]})
    roomy = shown(answer, Format.table)
    assert "product_view > add_to_cart" in roomy
    assert "rate_from_previous" in roomy
    narrow = shown(answer.assign(**{f"n{n}_ms": [4_200_000] for n in range(7)}), Format.table)
    assert max(map(len, narrow.splitlines())) <= 100
    assert {"product_", "view", "add_to_", "cart", "previous"} <= set(narrow.split())


def test_a_table_says_up_to_when_it_is_true() -> None:
    known = answer(ANSWER, "select 1", datetime(2026, 11, 2, 13, tzinfo=UTC))
    assert shown(known, Format.table).endswith("true until 2026-11-02 13:00:00 UTC\n")
    assert len(json.loads(shown(known, Format.json))) == len(ANSWER)
    assert "true until" not in shown(answer(ANSWER, "select 1", None), Format.table)


@pytest.mark.parametrize("format", Format)
def test_an_empty_answer_is_one_too(format: Format) -> None:
    said = shown(ANSWER[:0], format)
    assert json.loads(said) == [] if format is Format.json else "step" in said


DURATIONS = {
    0: "0 ms", 0.25: "250 ms", 1: "1 s", 59.9: "59.9 s", 60: "1 min", 63: "1 min 3 s", 3_599.6: "1 h",
    3_600: "1 h", 7_800: "2 h 10 min", 86_400: "1 d", 100_800: "1 d 4 h", -63: "−1 min 3 s",
}  # fmt: skip


@pytest.mark.parametrize(("seconds", "text"), DURATIONS.items())
def test_a_duration_is_said_in_its_two_nearest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


CELLS = {
    "a count has separators": ("count", 12345, "12,345"),
    "a rate is per cent": ("abandonment_rate", 0.1234, "12.3%"),
    "an instant has no microseconds": ("at", datetime(2026, 11, 2, 13, tzinfo=UTC), "2026-11-02 13:00:00"),
    "bytes are in their unit": ("bytes", 2_543_374, "2.5 MB"),
    "what is missing is a dash": ("anything", None, "–"),
    "a list is one line": ("kinds", ["a", "b"], "a, b"),
    "numpy's numbers are numbers": ("count", np.int64(7), "7"),
}


@pytest.mark.parametrize(("name", "value", "text"), CELLS.values(), ids=CELLS.keys())
def test_a_cell(name: str, value: object, text: str) -> None:
    assert cell(name, value) == text
