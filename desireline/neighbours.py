"""Whether the five packages beside this one are ours: names as common as `models` are taken easily."""

import importlib.util
from pathlib import Path

PACKAGES = ("models", "ingest", "streams", "warehouse", "dashboards")


def strangers(packages: tuple[str, ...] = PACKAGES) -> str | None:
    """What to say if another file or package stands in the place of one of ours; None when all are ours."""
    ours = Path(__file__).resolve().parent.parent
    for name in packages:
        spec = importlib.util.find_spec(name)
        if spec is None:
            return f'the package "{name}" of desireline is not installed. Install desireline again.'
        found = Path(spec.origin or next(iter(spec.submodule_search_locations or ["?"])))
        if not found.resolve().is_relative_to(ours):
            return (
                f'"{found}" has taken the name of the package "{name}" of desireline. '
                "Run desireline from another folder or without PYTHONPATH, "
                "and give it an environment of its own (pipx, uv tool, or a venv)."
            )
    return None
