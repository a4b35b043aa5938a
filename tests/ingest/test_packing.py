"""Which records travel together."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mapped import Mapped
from ingest.packing import (
    FILE_HEADER,
    LARGEST_BYTES,
    RECORD_BYTES,
    RECORD_TOUCHPOINTS,
    REJECTED,
    pack,
    unpublishable,
)
from ingest.rejection import NotTaken, Rejection, rejection
from models.identifier import Identifier, IdentifierOrder
from models.routing import partition_of, routing_key, topic_of
from models.touchpoint import Clock, Record, Touchpoint
from streams import channel_records, topics

ORDER = IdentifierOrder()


def touchpoint(number: int, user: int = 0, channel: str = "web", text: str = "") -> Touchpoint:
    return Touchpoint(
        id=f"t-{number}", source="s", source_instance="i", source_event_id=str(number), source_type="x",
        channel=channel, type="page_view", occurred_at=1, received_at=2,
        identifiers=(Identifier("anonymous_id", "a"), Identifier("user_id", str(user))), text=text or None,
    )  # fmt: skip


def refused(size: int = 10) -> Rejection:
    return rejection(
        NotTaken("invalid_json", "no"), b"x" * size,
        source="s", source_instance="i", channel="web", received_at=1, raw_ref="r",
    )  # fmt: skip


def packed(
    *records: Record, rejected: tuple[Rejection, ...] = (), partitions: int = 8, from_file: bool = False
):  # type: ignore[no-untyped-def]
    return pack([Mapped(list(records), list(rejected), from_file)], ORDER, partitions)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["web", "chat", "voice"])), max_size=60),
    st.integers(1, 9),
)
def test_every_record_goes_to_its_topic_and_partition_once_and_in_order(
    said: list[tuple[int, str]], partitions: int
) -> None:
    sent = [touchpoint(number, user, channel) for number, (user, channel) in enumerate(said)]
    made = packed(*sent, partitions=partitions)
    read = [(one, record) for one in made for record in channel_records.decode(one.value).records]
    assert sorted(record.id for _, record in read) == sorted(one.id for one in sent)  # type: ignore[union-attr]
    for one, record in read:
        assert isinstance(record, Touchpoint)
        assert one.topic == topic_of(record.channel)
        assert one.partition == partition_of(routing_key(record.identifiers, ORDER), partitions)
    for one in made:
        numbers = [int(record.id[2:]) for packet, record in read if packet is one]  # type: ignore[union-attr]
        assert numbers == sorted(numbers)
    assert len({(one.topic, one.partition) for one in made}) == len(made)


def test_a_kafka_record_holds_500_touchpoints_and_no_more() -> None:
    made = packed(*(touchpoint(number) for number in range(RECORD_TOUCHPOINTS + 1)))
    assert [len(one.items) for one in made] == [RECORD_TOUCHPOINTS, 1]


def test_a_kafka_record_holds_500_kilobytes_and_no_more() -> None:
    made = packed(*(touchpoint(number, text="x" * 2_000) for number in range(400)))
    assert all(len(one.value) <= RECORD_BYTES for one in made)
    assert all(one.size >= len(one.value) for one in made)
    assert sum(len(one.items) for one in made) == 400


def test_a_touchpoint_beyond_kafkas_limit_is_rejected_by_reference() -> None:
    large = touchpoint(1, text="x" * LARGEST_BYTES)
    made = packed(touchpoint(0), msgspec.structs.replace(large, raw_ref="spool:y:4"))
    assert [one.topic for one in made] == ["touchpoints.web", REJECTED]
    said = msgspec.json.decode(made[1].value, type=Rejection)
    assert (said.reason, said.raw_ref, said.raw_base64) == ("event_too_large", "spool:y:4", None)


def test_a_rejection_is_a_record_of_its_own_with_its_id_as_key() -> None:
    one, two = packed(rejected=(refused(), refused(20)))
    assert one.topic == two.topic == REJECTED
    assert msgspec.json.decode(one.value, type=Rejection) == refused()
    assert one.key == refused().id.encode()


def test_a_clock_goes_to_every_partition_and_last() -> None:
    made = packed(
        Clock(at=5, source="shop"), touchpoint(1), rejected=(refused(),), partitions=3, from_file=True
    )
    assert [(one.topic, one.clock) for one in made[:2]] == [("touchpoints.web", False), (REJECTED, False)]
    clocks = made[2:]
    assert [one.partition for one in clocks] == [0, 1, 2]
    assert not any(one.from_file for one in clocks)  # else it would move nothing
    assert channel_records.decode(clocks[0].value).records == [Clock(at=5, source="shop")]


def test_rows_of_a_file_are_marked_and_do_not_travel_with_others() -> None:
    made = pack([Mapped([touchpoint(1)], [], True), Mapped([touchpoint(2)], [], False)], ORDER, 8)
    assert [one.from_file for one in made] == [True, False]


def test_halves_hold_what_the_whole_held() -> None:
    [whole] = packed(*(touchpoint(number) for number in range(5)))
    first, second = whole.halves()
    assert [len(first.items), len(second.items)] == [2, 3]
    assert first.items + second.items == whole.items


def test_what_kafka_does_not_take_is_rejected_and_keeps_its_names() -> None:
    [one] = packed(touchpoint(1))
    said = unpublishable(one, "too large")
    assert (said.reason, said.source, said.channel, said.raw_base64) == ("publish_failed", "s", "web", None)


@pytest.mark.parametrize("name", ["FILE_HEADER"])
def test_the_worker_knows_the_same_header(name: str) -> None:
    assert getattr(channel_records, name) == FILE_HEADER
    assert topics.REJECTED == REJECTED
