"""The definition of a cohort as a file: YAML, of which JSON is a part."""

from pathlib import Path
from typing import Any

import yaml

from warehouse.answer import QuestionError


def load(path: Path) -> Any:
    """The definition in a file. QuestionError says where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "this is no text"
        raise QuestionError(str(reason), where=str(path), remedy="Name a YAML or JSON file.") from error
    return read(text, where=str(path))


def read(text: str, *, where: str) -> Any:
    """The definition in a text. QuestionError says in which line it cannot be read."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        raise QuestionError(f"this is no YAML: {getattr(error, 'problem', error)}", where=place) from None
