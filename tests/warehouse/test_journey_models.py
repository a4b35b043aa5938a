"""What tells journey models apart."""

import os
import subprocess
import sys

SAYS = """
from models.journey_model import default_model
from warehouse.journey_models import fingerprint
print(fingerprint(default_model()))
"""


def test_the_fingerprint_of_a_model_is_the_same_in_every_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", SAYS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
