"""`python -m tests.converge [--kafka]`: does what streamed through killed processes equal the batch?

CONVERGE_SEED repeats a run's traffic and what is done to it (not the instants at which it meets);
CONVERGE_CUSTOMERS and CONVERGE_SECONDS say how much and how long. Exit code 0 if nothing differs, 1 if
something does, 2 where Apache Kafka cannot run on this machine.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from models.errors import DesirelineError
from tests.converge import direct, supervised
from tests.converge.apache_kafka import NoKafka, fetched, version
from tests.converge.happenings import Happenings, Outcome

SHOWN = 20


def main(arguments: list[str]) -> int:
    kafka = "--kafka" in arguments
    seed = int(os.environ.get("CONVERGE_SEED") or random.SystemRandom().randrange(1_000_000))
    customers = int(os.environ.get("CONVERGE_CUSTOMERS", "1200"))
    seconds = float(os.environ.get("CONVERGE_SECONDS", "120"))
    console = Console(width=None if sys.stdout.isatty() else 110)
    if kafka:
        try:
            fetched()
        except NoKafka as error:
            console.print(f"converge-kafka did not run: {error}", highlight=False)
            return 2
    engine = f"Apache Kafka {version()}" if kafka else "the embedded broker"
    console.print(f"CONVERGE_SEED={seed}: {customers:,} customers, {seconds:g} s of violence, {engine}")
    happenings = Happenings(console)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="converge-"))
    outcomes: list[Outcome] = []
    try:
        outcomes.append(direct.run(folder, seed, customers, seconds, happenings, kafka=kafka))
        if not kafka:  # `desireline up` brings its own broker
            outcomes.append(supervised.run(folder, seed, customers // 4, happenings))
    except (DesirelineError, TimeoutError, AssertionError) as error:
        outcomes.append(Outcome([f"{type(error).__name__}: {error}"], 0))
    happenings.show(f"What was done in {time.monotonic() - began:.0f} s, seed {seed}")
    wrong = [one for outcome in outcomes for one in outcome.wrong]
    for one in wrong[:SHOWN]:
        console.print(one[:2000], highlight=False, markup=False, soft_wrap=True)
    touchpoints = sum(outcome.touchpoints for outcome in outcomes)
    if wrong:
        console.print(f"logs and data are kept in {folder}", highlight=False, soft_wrap=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"differences={len(wrong)} kills={happenings.kills} touchpoints={touchpoints}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
