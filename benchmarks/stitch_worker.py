"""A worker that stitches and loads nothing: `python -m benchmarks.stitch_worker BROKER PARTITIONS FOLDER PORT`."""

import sys

from models.journey_model import default_model
from streams.app import run_worker
from streams.config import WorkerConfig

if __name__ == "__main__":
    sys.exit(
        run_worker(
            WorkerConfig(
                bootstrap_servers=sys.argv[1],
                partitions=int(sys.argv[2]),
                model=default_model(),
                data_dir=sys.argv[3],
                metrics_port=int(sys.argv[4]),
                broker_rebalance_timeout_s=1,
                session_timeout_s=10,
                zombie_grace_s=0,
            )
        )
    )
