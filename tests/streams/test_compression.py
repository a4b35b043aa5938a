"""aiokafka's producers compress at the level that is ours."""

import subprocess
import sys

BATCH = """
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from streams.compression import use_fastest_lz4
if {fastest}: use_fastest_lz4()
batch = DefaultRecordBatchBuilder(2, 3, False, -1, -1, 0, 1_000_000)
text = b"".join(b'{{"id": "%d", "type": "page_view"}}' % (n * n) for n in range(5000))
batch.append(0, 0, None, text, [])
print(len(batch.build()))
"""


def size(*, fastest: bool) -> int:
    command = [sys.executable, "-c", BATCH.format(fastest=fastest)]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_a_batch_is_compressed_at_the_fastest_level() -> None:
    default, fastest = size(fastest=False), size(fastest=True)
    assert default < fastest < 100_000
