"""What was answered is there again, whatever happened to the process, the disk or the file."""

import errno
import logging
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import spool as spools
from ingest.segments import segments
from ingest.spool import (
    Delivered,
    Spool,
    SpoolBroken,
    SpoolEntry,
    SpoolFull,
    SpoolTaken,
    published_position,
    read_spool,
    spool_name,
    write_published_position,
)

LIMIT = 10**9


def body(content: bytes) -> Delivered:
    return Delivered(f"id-{content[:20]!r}", 1, "batch", "shop", {}, content)


def append(spool: Spool, *contents: bytes) -> list[int]:
    futures = [spool.append(body(content)) for content in contents]
    return [future.result(5) for future in futures]


def bodies(folder: Path, start: int = 0) -> list[bytes]:
    return [entry.delivered.body for entry in read_spool(folder, start)]


def last(folder: Path) -> Path:
    return segments(folder)[-1][1]


def test_what_was_written_is_read_in_order_and_positions_go_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    positions = append(spool, b"a", b"bb", b"ccc")
    entries = list(read_spool(tmp_path))
    assert [entry.delivered.body for entry in entries] == [b"a", b"bb", b"ccc"]
    assert [entry.position for entry in entries] == positions
    assert [entry.end for entry in entries[:-1]] == positions[1:]
    assert bodies(tmp_path, positions[1]) == [b"bb", b"ccc"]
    spool.close()
    again = Spool(tmp_path, limit_bytes=LIMIT)
    assert append(again, b"d") == [entries[-1].end]
    again.close()
    assert bodies(tmp_path) == [b"a", b"bb", b"ccc", b"d"]


def test_commits_are_told_in_order_with_what_was_carried(tmp_path: Path) -> None:
    told: list[Any] = []
    spool = Spool(tmp_path, limit_bytes=LIMIT, on_commit=lambda *said: told.append(said))
    for number in range(100):
        spool.append(body(b"x"), number)
    spool.close()
    assert [carried for _, _, carried in told] == list(range(100))
    assert [position for position, _, _ in told[1:]] == [end for _, end, _ in told[:-1]]


def test_many_who_wait_at_the_same_time_share_one_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = 0

    def slow(file: int) -> None:
        nonlocal syncs
        syncs += 1
        time.sleep(0.02)

    monkeypatch.setattr(os, "fdatasync", slow)
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda n: spool.append(body(b"%d" % n)).result(10), range(200)))
    spool.close()
    assert len(bodies(tmp_path)) == 200
    assert syncs < 40


def test_a_segment_is_closed_at_its_size_and_reading_goes_over_all(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT, segment_bytes=500)
    sent = [b"%03d" % number * 30 for number in range(40)]
    for content in sent:
        append(spool, content)
    spool.close()
    assert len(segments(tmp_path)) > 5
    assert bodies(tmp_path) == sent
    positions = [entry.position for entry in read_spool(tmp_path)]
    for index in range(0, 40, 7):
        assert bodies(tmp_path, positions[index]) == sent[index:]


@pytest.mark.parametrize("cut", [1, 3, 7, 8, 9, 20])
def test_a_torn_end_is_moved_away_and_the_rest_stays(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    append(spool, b"first", b"second")
    spool.close()
    os.truncate(last(tmp_path), last(tmp_path).stat().st_size - cut)
    with caplog.at_level(logging.WARNING):
        again = Spool(tmp_path, limit_bytes=LIMIT)
    assert "never answered" in caplog.text
    append(again, b"third")
    again.close()
    assert bodies(tmp_path) == [b"first", b"third"]
    [torn] = tmp_path.glob("*.torn")
    assert torn.stat().st_size > 0


def test_zeros_that_a_power_cut_left_are_no_entries(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    append(spool, b"first")
    spool.close()
    with last(tmp_path).open("ab") as file:
        file.write(bytes(4096))
    assert bodies(tmp_path) == [b"first"]
    again = Spool(tmp_path, limit_bytes=LIMIT)
    append(again, b"second")
    again.close()
    assert bodies(tmp_path) == [b"first", b"second"]


@settings(max_examples=60)  # each one waits for the disk
@given(st.data())
def test_wherever_the_end_is_cut_what_is_whole_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    contents = data.draw(st.lists(st.binary(max_size=30), min_size=1, max_size=6))
    spool = Spool(folder, limit_bytes=LIMIT)
    append(spool, *contents)
    spool.close()
    ends = [entry.end for entry in read_spool(folder)]
    size = data.draw(st.integers(0, ends[-1]))
    os.truncate(last(folder), size)
    again = Spool(folder, limit_bytes=LIMIT)
    append(again, b"next")
    again.close()
    whole = [content for content, end in zip(contents, ends, strict=True) if end <= size]
    assert bodies(folder) == [*whole, b"next"]


def test_damage_in_the_middle_is_said_with_where_to_go_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT, segment_bytes=300)
    for number in range(12):
        append(spool, b"%d" % number * 60)
    spool.close()
    first = segments(tmp_path)[0][1]
    content = bytearray(first.read_bytes())
    content[30] ^= 255
    first.write_bytes(content)
    with pytest.raises(SpoolBroken, match="damaged") as broken:
        bodies(tmp_path)
    assert broken.value.resume_at == segments(tmp_path)[1][0]
    assert bodies(tmp_path, broken.value.resume_at)


def cut_out(folder: Path, entry: SpoolEntry) -> None:
    """Take an entry out of its segment, and close the gap."""
    base, path = next(one for one in reversed(segments(folder)) if one[0] <= entry.position)
    content = path.read_bytes()
    path.write_bytes(content[: entry.position - base] + content[entry.end - base :])


def told(folder: Path, start: int = 0) -> tuple[list[bytes], list[tuple[int | None, int | None]]]:
    """All that can be read, and what is told to be gone, from where to where."""
    read: list[bytes] = []
    gone: list[tuple[int | None, int | None]] = []
    while True:
        broken = None
        try:
            for entry in read_spool(folder, start):
                read.append(entry.delivered.body)
        except SpoolBroken as error:
            broken = error
        if broken is None:
            return read, gone
        gone.append((broken.begin, broken.resume_at))
        assert broken.resume_at is not None
        start = broken.resume_at


@pytest.mark.parametrize("number", [0, 1, 5, 10])
def test_an_entry_that_is_gone_is_said_and_what_follows_it_is_read(tmp_path: Path, number: int) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT, segment_bytes=500)
    sent = [b"%02d" % number * 30 for number in range(12)]
    for content in sent:
        append(spool, content)
    spool.close()
    entries = list(read_spool(tmp_path))
    cut_out(tmp_path, entries[number])
    left = sent[:number] + sent[number + 1 :]
    gone = [(entries[number].position, entries[number].end)]
    assert told(tmp_path) == (left, gone)
    again = Spool(tmp_path, limit_bytes=LIMIT, segment_bytes=500)
    assert append(again, b"next") == [entries[-1].end]
    again.close()
    assert told(tmp_path) == ([*left, b"next"], gone)
    # wherever one begins behind it, nothing is gone
    for place in range(number + 1, 12):
        assert told(tmp_path, entries[place].position) == ([*sent[place:], b"next"], [])


def test_a_published_end_that_is_gone_leaves_its_place_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    append(spool, b"first", b"second")
    spool.close()
    write_published_position(tmp_path, spool.end)
    [first, second] = read_spool(tmp_path)
    os.truncate(last(tmp_path), first.end)
    again = Spool(tmp_path, limit_bytes=LIMIT)
    assert append(again, b"third") == [second.end]
    again.close()
    assert told(tmp_path) == ([b"first", b"third"], [(second.position, second.end)])


def test_a_spool_keeps_its_name(tmp_path: Path) -> None:
    assert spool_name(tmp_path) is None
    names = set()
    for _ in range(2):
        spool = Spool(tmp_path, limit_bytes=LIMIT)
        names.add(spool.name)
        spool.close()
    assert names == {spool_name(tmp_path)}


def test_a_full_disk_is_said_and_nothing_of_it_is_answered_or_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    append(spool, b"first")
    real = spools._write_all

    def half(file: Any, data: bytes) -> None:
        real(file, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spools, "_write_all", half)
    with pytest.raises(SpoolBroken, match="No space"):
        append(spool, b"second")
    assert spool.fault
    monkeypatch.setattr(spools, "_write_all", real)
    append(spool, b"third")
    assert not spool.fault
    assert bodies(tmp_path) == [b"first", b"third"]
    spool.close()


def test_what_cannot_be_synced_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    real = os.fdatasync

    def fails(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(SpoolBroken):
        append(spool, b"lost")
    monkeypatch.setattr(os, "fdatasync", real)
    append(spool, b"kept")
    spool.close()
    assert bodies(tmp_path) == [b"kept"]


def fill(spool: Spool) -> int:
    """Append until it is full; how many went in."""
    taken = 0
    while True:
        try:
            append(spool, b"x" * 500)
        except SpoolFull:
            return taken
        taken += 1


def test_a_full_spool_takes_nothing_until_somebody_needs_less_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "_LOOK_FOR_ROOM_S", 0.0)
    needed = 0
    spool = Spool(tmp_path, limit_bytes=20_000, segment_bytes=2_000, needed_from=lambda: needed)
    assert 30 < fill(spool) < 45
    assert spool.full
    with pytest.raises(SpoolFull):
        spool.append(body(b"x"))
    needed = spool.end // 2
    append(spool, b"there is room again")
    kept = [entry.position for entry in read_spool(tmp_path)]
    assert kept[0] <= needed  # nothing that is needed went
    assert kept[0] > 0
    spool.close()


def test_what_was_published_goes_by_its_age_and_nothing_else(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT, segment_bytes=300)
    for number in range(12):
        append(spool, b"%d" % number * 60)
    spool.drop_before(spool.end, older_than_days=1)
    assert len(bodies(tmp_path)) == 12  # too young
    old = time.time() - 2 * 86_400
    for _, path in segments(tmp_path):
        os.utime(path, (old, old))
    half = list(read_spool(tmp_path))[6].position
    spool.drop_before(half, older_than_days=1)
    left = list(read_spool(tmp_path))
    assert 0 < left[0].position <= half
    append(spool, b"on it goes")
    spool.close()
    assert bodies(tmp_path)[-1] == b"on it goes"


def test_two_writers_are_one_too_many(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    with pytest.raises(SpoolTaken, match="another collector"):
        Spool(tmp_path, limit_bytes=LIMIT)
    spool.close()
    Spool(tmp_path, limit_bytes=LIMIT).close()


def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT)
    spool.close()
    with pytest.raises(SpoolFull):
        spool.append(body(b"late"))


def test_a_published_position_that_cannot_be_read_is_the_beginning(tmp_path: Path) -> None:
    assert published_position(tmp_path) == 0
    write_published_position(tmp_path, 77)
    assert published_position(tmp_path) == 77
    (tmp_path / "published").write_text("")
    assert published_position(tmp_path) == 0


def test_reading_beside_the_writer_never_sees_half_an_entry(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=LIMIT, segment_bytes=5_000)
    chance = random.Random(1)
    futures = []
    for _ in range(300):
        futures.append(spool.append(body(chance.randbytes(chance.randint(1, 400)))))
        if len(futures) % 10 == 0:
            list(read_spool(tmp_path))
    for future in futures:
        future.result(5)
    assert len(bodies(tmp_path)) == 300
    spool.close()
