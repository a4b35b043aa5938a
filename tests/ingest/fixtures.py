"""Recorded requests of real clients, and composed ones of documented services."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "fixtures"


def fixture(name: str) -> dict[str, Any]:
    """The fixture of a name, as `tests/fixtures/NAME.json` has it."""
    said: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return said
