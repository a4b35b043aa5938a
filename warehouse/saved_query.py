"""A question saved as a YAML file: the name of an analysis, and its arguments by the names that JSON has.

title: Checkout, by channel
analysis: funnel
steps: [add_to_cart, checkout_started, purchase]
within: 1d
by: channel
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from sqlalchemy import Engine

from models.errors import DesirelineError
from warehouse.analysis import Analysis
from warehouse.answer import Answer, QuestionError
from warehouse.catalogue import named
from warehouse.parameters import arguments


class SavedQueryError(DesirelineError):
    """A file holds no question that can be asked."""


class SavedQuery(msgspec.Struct, frozen=True):
    """A checked question; `given` are its arguments as they were written."""

    analysis: Analysis[Any]
    given: Mapping[str, Any]
    title: str = ""

    def ask(self, connection: Engine) -> Answer:
        """Ask it now; times like `7d` are so long ago from now."""
        return self.analysis(connection, **arguments(self.analysis, self.given))


def load(path: Path) -> SavedQuery:
    """The question in a file. SavedQueryError says where, what and what to do."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SavedQueryError(str(error.strerror), where=str(path)) from error
    return read(text, where=str(path))


def read(text: str, *, where: str = "saved query") -> SavedQuery:
    """The question in a text. SavedQueryError."""
    try:
        said = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        raise SavedQueryError(f"this is no YAML: {getattr(error, 'problem', error)}", where=place) from None
    if not isinstance(said, dict) or "analysis" not in said:
        raise SavedQueryError(
            "this names no analysis", where=where, remedy='Write e.g. "analysis: funnel" and its arguments.'
        )
    given = {str(name): value for name, value in said.items() if name not in ("analysis", "title")}
    try:
        found = SavedQuery(named(str(said["analysis"])), given, str(said.get("title") or ""))
        arguments(found.analysis, given)
    except QuestionError as error:
        raise SavedQueryError(error.what, where=where, remedy=error.remedy) from error
    return found


def written(query: SavedQuery) -> str:
    """The YAML that `read` takes."""
    title = {"title": query.title} if query.title else {}
    return yaml.safe_dump(
        {**title, "analysis": query.analysis.name, **query.given}, sort_keys=False, allow_unicode=True
    )
