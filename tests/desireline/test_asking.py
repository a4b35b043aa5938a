"""Questions that cannot be asked so: what the command line says, without a traceback."""

from pathlib import Path

import pytest

from tests.desireline.ups import desireline

NOT_SO = {
    # what is wrong                                    the command                                 said
    "a time that no calendar has":       (("conversion", "--from", "99999999999d"),   "is no time"),
    "a reason that is none of the list": (("rejected", "list", "--reason", "odd"),    'reason "odd" is not known'),
    "a folder on which nothing runs":    (("topics", "status", "--data", "FOLDER"),   "no `desireline up` runs on"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "said"), NOT_SO.values(), ids=NOT_SO.keys())
def test_it_is_said_what_is_wrong(command: tuple[str, ...], said: str, tmp_path: Path) -> None:
    asked = desireline(*(str(tmp_path) if word == "FOLDER" else word for word in command))
    assert asked.returncode in (1, 2)
    assert said in asked.stderr
    assert "Traceback" not in asked.stderr
    assert asked.stdout == ""
