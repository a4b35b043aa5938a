"""Columns of a file to fields of a touchpoint."""

from typing import Any

import pytest

from ingest.mapping import MappingError, by_name, read_mapping

IDENTIFIED = "identifiers: {user_id: customer}\n"
FIELDS = {
    # the rule: YAML, row, what the record says
    "a column": ("type: event", {"event": "purchase"}, {"type": "purchase"}),
    "a constant": ("channel: =voice", {}, {"channel": "voice"}),
    "a dotted path into an object": ("type: a.b", {"a": {"b": "purchase"}}, {"type": "purchase"}),
    "a column with a dot in its name": ("type: a.b", {"a.b": "x", "a": {"b": "y"}}, {"type": "x"}),
    "values are renamed": ("type: {column: e, values: {a: b}}", {"e": "a"}, {"type": "b"}),
    "another stays": ("type: {column: e, values: {a: b}}", {"e": "x"}, {"type": "x"}),
    "or is what else says": ("type: {column: e, values: {a: b}, else: c}", {"e": "x"}, {"type": "c"}),
    "a time in seconds": ("occurred_at: {column: t, unit: s}", {"t": "1.5"}, {"occurred_at": 1500}),
    "a time as text stays": ("occurred_at: t", {"t": "2026"}, {"occurred_at": "2026"}),
    "an empty cell says nothing": ("topic: t", {"t": ""}, {}),
    "a whole number of a text file": ("wait_ms: w", {"w": "1200"}, {"wait_ms": 1200}),
    "a whole number of a column with gaps": ("nps: n", {"n": 9.0}, {"nps": 9}),
    "a number with a fraction": ("csat: c", {"c": "4.5"}, {"csat": 4.5}),
    "no number stays, and is rejected by name": ("wait_ms: w", {"w": "long"}, {"wait_ms": "long"}),
    "an amount is a text": ("amount: a", {"a": 12.5}, {"amount": "12.5"}),
    "a part of an object": ("page.path: p", {"p": "/"}, {"page": {"path": "/"}}),
    "the sender's id": ("id: no", {"no": 7}, {"source_event_id": "7"}),
}  # fmt: skip


@pytest.mark.parametrize(("text", "row", "said"), FIELDS.values(), ids=FIELDS.keys())
def test_a_field(text: str, row: dict[str, Any], said: dict[str, Any]) -> None:
    mapping = read_mapping(f"{IDENTIFIED}properties: []\n{text}\n", where="map.yaml")
    record = mapping.record({"customer": "ann", **row}, "shop")
    if "source_event_id" not in said:
        assert record.pop("source_event_id").startswith("sha256:")
    assert record == {"source": "shop", "identifiers": [{"kind": "user_id", "value": "ann"}], **said}


def test_what_is_mapped_to_nothing_is_a_property() -> None:
    record = read_mapping(f"{IDENTIFIED}type: =purchase", where="m").record(
        {"customer": "ann", "plan": "pro", "x": ""}, "s"
    )
    assert record["properties"] == {"plan": "pro"}


def test_only_the_listed_columns_are_properties() -> None:
    mapping = read_mapping(f"{IDENTIFIED}properties: [plan]", where="m")
    assert mapping.record({"customer": "ann", "plan": "pro", "x": "y"}, "s")["properties"] == {"plan": "pro"}


def test_the_same_row_has_the_same_id_in_whichever_order_its_columns_stand() -> None:
    mapping = read_mapping(IDENTIFIED, where="m")
    one = mapping.record({"customer": "ann", "plan": "pro"}, "s")
    other = mapping.record({"plan": "pro", "customer": "ann"}, "s")
    assert one["source_event_id"] == other["source_event_id"]


def test_without_a_mapping_columns_are_what_they_are_called() -> None:
    mapping = by_name(["occurred_at", "type", "email", "plan"])
    record = mapping.record(
        {"occurred_at": "2026-11-02", "type": "purchase", "email": "a@b.org", "plan": "pro"}, "s"
    )
    assert record["type"] == "purchase"
    assert record["identifiers"] == [{"kind": "email", "value": "a@b.org"}]
    assert record["properties"] == {"plan": "pro"}


WRONG = {
    "no YAML": ("a: [", "this is no YAML"),
    "no mapping": ("- a", "FIELD: COLUMN"),
    "nobody": ("type: event", "no identifier is mapped"),
    "a misspelt field": ("ocurred_at: t\nidentifiers: {email: e}", 'Did you mean "occurred_at"'),
    "a misspelt kind": ("identifiers: {emial: e}", 'Did you mean "email"'),
    "a misspelt word": ("type: {column: t, vales: {}}\nidentifiers: {email: e}", 'Did you mean "values"'),
    "an unknown unit": ("occurred_at: {column: t, unit: min}\nidentifiers: {email: e}", "It is s or ms"),
    "a list for a column": ("type: [a]\nidentifiers: {email: e}", "is no column"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_mapping_is_said_with_its_file(text: str, said: str) -> None:
    with pytest.raises(MappingError, match=said) as raised:
        read_mapping(text, where="map.yaml")
    assert str(raised.value).startswith("map.yaml")


def test_a_column_that_the_file_lacks_is_said_with_the_nearest() -> None:
    mapping = read_mapping("type: evnt\nidentifiers: {email: mail}", where="map.yaml")
    with pytest.raises(
        MappingError, match=r'shop\.csv: the file has no column "evnt"\. Did you mean "event"'
    ):
        mapping.check(["event", "mail"], where="shop.csv")
