"""Faust's own faults, each put into a real worker on a real broker: it says so, ends, and nothing is lost."""

import re
import subprocess
import time

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from models.touchpoint import Touchpoint
from streams.embedded_broker import EmbeddedBroker
from streams.offsets import Resumed, resumed
from streams.topics import GROUP
from tests.histories import NOON
from tests.streams.faulty_worker import DELETED_BEFORE, PASSED_OVER, WEB
from tests.streams.pipeline import MODEL, Pipeline
from tests.streams.scheduler import wanted
from tests.streams.test_stitching import MAIL, touchpoint

PATIENCE_S = 3.0
ENDS_WITHIN_S = 60.0  # on a busy machine; patience, a look, and what stopping takes

CASES = {
    # what is committed                   committed, begin, end  reads on at, what is said to be lost
    "nothing yet":                        (None, 0, None, 0, None),
    "nothing yet, and the start is gone": (None, 4, None, 4, None),
    "a record that is there":             (5, 0, None, 5, None),
    "the first record that is left":      (5, 5, None, 5, None),
    "the end":                            (5, 0, 5, 5, None),
    "a record that was deleted":          (5, 6, None, 6, "offsets 5 to 5 were deleted"),
    "records beyond the end":             (9, 0, 3, 0, "9 was committed and the topic ends at 3"),
}  # fmt: skip


@pytest.mark.parametrize(("committed", "begin", "end", "offset", "lost"), CASES.values(), ids=CASES.keys())
def test_reading_goes_on_from(
    committed: int | None, begin: int, end: int | None, offset: int, lost: str | None
) -> None:
    place = resumed(committed, begin, end)
    assert place.offset == offset
    assert place.lost is None if lost is None else place.lost is not None and place.lost.startswith(lost)
    assert resumed(offset, begin, end) == Resumed(offset)  # once said, all is well


def visits(*minutes: int) -> list[Touchpoint]:
    return [touchpoint(f"t{minute}", minute, "web", "page_view", MAIL) for minute in minutes]


def publish(pipeline: Pipeline, touchpoints: list[Touchpoint]) -> None:
    """One record each, in one partition: those of `WEB`."""
    for one in touchpoints:
        pipeline.publish([one], WEB.partition)
    pipeline.producer.flush()


def error_of(pipeline: Pipeline, worker: subprocess.Popen[bytes]) -> str:
    """The line with which it says why it ends; it must end by itself, and not well."""
    try:
        assert worker.wait(timeout=ENDS_WITHIN_S) == 1, pipeline.log_of(worker)
    except subprocess.TimeoutExpired:
        pytest.fail(f"it goes on:\n{pipeline.log_of(worker)[-4000:]}")
    said = re.search(r"ERROR the worker stops: (.*)", pipeline.log_of(worker))
    assert said is not None, pipeline.log_of(worker)
    assert pipeline.log_of(worker).rstrip().endswith(said[1])  # a supervisor shows the last line
    return said[1]


def await_batch(pipeline: Pipeline, touchpoints: list[Touchpoint]) -> None:
    """Until what was said is what a batch over these touchpoints says."""
    end = NOON + 60_000 * 60
    pipeline.clock(end)
    expected = wanted(touchpoints, end, MODEL)
    pipeline.read_until(lambda: pipeline.standing() == expected)


def ends_as_the_batch(pipeline: Pipeline, touchpoints: list[Touchpoint]) -> None:
    """With a worker that works."""
    pipeline.start_worker()
    await_batch(pipeline, touchpoints)


def test_records_that_were_passed_over_end_the_worker_and_the_next_one_reads_them(pipeline: Pipeline) -> None:
    touchpoints = visits(*range(6))
    publish(pipeline, touchpoints)
    worker = pipeline.start_worker(fault="skips_offsets")
    said = error_of(pipeline, worker)
    assert (
        f"{WEB.topic} partition {WEB.partition}: offset {PASSED_OVER[-1] + 1} came where {PASSED_OVER[0]}"
        in said
    )
    ends_as_the_batch(pipeline, touchpoints)


def test_a_commit_that_never_returns_ends_the_worker_even_where_it_keeps_it_from_stopping(
    pipeline: Pipeline,
) -> None:
    touchpoints = visits(*range(6))
    publish(pipeline, touchpoints)
    worker = pipeline.start_worker(fault="commits_nothing", recovery_patience_s=PATIENCE_S)
    said = error_of(pipeline, worker)
    assert f"{WEB.topic} partition {WEB.partition} is not committed since" in said
    assert pipeline.lag() == len(touchpoints)
    ends_as_the_batch(pipeline, touchpoints)


def test_a_consumer_that_reads_no_more_ends_the_worker(pipeline: Pipeline) -> None:
    touchpoints = visits(*range(6))
    publish(pipeline, touchpoints)
    worker = pipeline.start_worker(fault="fetches_no_touchpoints", recovery_patience_s=PATIENCE_S)
    assert f"{WEB.topic} partition {WEB.partition} is not read since" in error_of(pipeline, worker)
    ends_as_the_batch(pipeline, touchpoints)


def test_a_recovery_that_gets_no_records_ends_the_worker(pipeline: Pipeline) -> None:
    touchpoints = visits(*range(6))
    publish(pipeline, touchpoints[:3])
    first = pipeline.start_worker()
    pipeline.read_to_the_end()
    first.kill()
    first.wait()
    publish(pipeline, touchpoints[3:])
    worker = pipeline.start_worker(fault="recovers_nothing", recovery_patience_s=PATIENCE_S)
    assert "the recovery of the state does not get on since" in error_of(pipeline, worker)
    ends_as_the_batch(pipeline, touchpoints)


def test_a_worker_that_others_join_in_its_recovery_recovers_again_and_goes_on(pipeline: Pipeline) -> None:
    touchpoints = visits(*range(6))
    publish(pipeline, touchpoints[:3])
    pipeline.clock(NOON)  # something is committed in every partition
    first = pipeline.start_worker()
    pipeline.read_to_the_end()
    first.kill()
    first.wait()
    late = pipeline.start_worker(fault="recovers_late")
    pipeline.read_until(lambda: "of which [] stayed" in pipeline.log_of(late))
    pipeline.start_worker()
    pipeline.read_until(lambda: len(re.findall("of which", pipeline.log_of(late))) > 1)
    assert "Worker ready" not in pipeline.log_of(late), "it had recovered before the other came"
    pipeline.await_ready(late)
    publish(pipeline, touchpoints[3:])
    await_batch(pipeline, touchpoints)
    assert late.poll() is None, pipeline.log_of(late)


def test_a_recovery_that_faust_calls_complete_too_early_loses_no_household(pipeline: Pipeline) -> None:
    touchpoints = visits(*range(6))
    publish(pipeline, touchpoints[:3])
    pipeline.clock(NOON)
    first = pipeline.start_worker()
    pipeline.read_to_the_end()
    first.kill()
    first.wait()
    worker = pipeline.start_worker(fault="calls_a_recovery_complete_before_it_began")
    pipeline.await_ready(worker)
    publish(pipeline, touchpoints[3:])
    await_batch(pipeline, touchpoints)
    assert worker.poll() is None, pipeline.log_of(worker)


def test_records_deleted_below_the_committed_offset_are_said_and_reading_goes_on_with_the_earliest_left(
    pipeline: Pipeline,
) -> None:
    touchpoints = visits(*range(6))
    publish(pipeline, touchpoints[:1])
    first = pipeline.start_worker()
    pipeline.read_to_the_end()
    first.kill()
    first.wait()
    publish(pipeline, touchpoints[1:])
    worker = pipeline.start_worker(fault="retention_deleted")
    await_batch(pipeline, [touchpoints[0], *touchpoints[DELETED_BEFORE:]])
    said = (
        "ERROR touchpoints.web partition 0: the committed offset is out of range: offsets 1 to 2 were deleted"
    )
    assert pipeline.log_of(worker).count(said) == 1
    publish(pipeline, touchpoints[1:DELETED_BEFORE])  # as the republisher does
    await_batch(pipeline, touchpoints)


def test_a_commit_beyond_the_end_of_the_topic_is_said_and_all_that_is_there_is_read(
    pipeline: Pipeline,
) -> None:
    touchpoints = visits(*range(3))
    publish(pipeline, touchpoints)
    place = TopicPartition(WEB.topic, WEB.partition)
    by_hand = KafkaConsumer(
        bootstrap_servers=pipeline.bootstrap_servers, group_id=GROUP, enable_auto_commit=False
    )
    by_hand.assign([place])
    by_hand.commit({place: OffsetAndMetadata(9, "", -1)})
    by_hand.close()
    worker = pipeline.start_worker()
    pipeline.read_until(lambda: "9 was committed and the topic ends at 3" in pipeline.log_of(worker))
    await_batch(pipeline, touchpoints)


def test_a_worker_for_whom_no_partition_is_left_waits_for_one() -> None:
    with EmbeddedBroker() as broker, Pipeline(broker.bootstrap_servers, partitions=1) as pipeline:
        first = pipeline.start_worker()
        pipeline.await_ready(first)
        second = pipeline.start_worker(recovery_patience_s=PATIENCE_S)
        idle = "partitions [], of which"
        pipeline.read_until(lambda: any(idle in pipeline.log_of(worker) for worker in (first, second)))
        begun = time.monotonic()
        pipeline.read_until(lambda: time.monotonic() - begun > 2 * PATIENCE_S)
        for worker in (first, second):
            assert worker.poll() is None, pipeline.log_of(worker)
        spare, busy = (first, second) if idle in pipeline.log_of(first) else (second, first)
        busy.kill()
        busy.wait()
        publish(pipeline, visits(0))
        pipeline.read_until(lambda: pipeline.journeys() == {("t0",)})
        assert spare.poll() is None
