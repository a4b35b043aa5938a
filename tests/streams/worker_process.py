"""A worker as a process of its own, for tests that kill it.

`worker_process.py BOOTSTRAP PARTITIONS [NAME=JSON …]`; the names are those of `WorkerConfig`; `model` is its YAML.
"""

import logging
import sys

import msgspec

from models.journey_model import default_model, load_model
from streams.app import run_worker
from streams.config import WorkerConfig


def main() -> int:
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(levelname)s %(message)s")
    given = {
        name: msgspec.json.decode(value) for name, value in (text.split("=", 1) for text in sys.argv[3:])
    }
    return run_worker(
        WorkerConfig(
            bootstrap_servers=sys.argv[1],
            partitions=int(sys.argv[2]),
            model=load_model(given.pop("model"), where="test") if "model" in given else default_model(),
            broker_rebalance_timeout_s=1,
            session_timeout_s=4,
            **given,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
