"""Options that many commands share, and the settings that the whole command line was given."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from desireline.render import Format
from desireline.settings import Settings, read

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Data folder of `desireline up`, running or stopped. Else DESIRELINE_WAREHOUSE_URL is asked.",
    ),
]
Formatted = Annotated[Format, typer.Option("--format", help="How the answer is written.")]


def parse_instant(text: str) -> datetime:
    """A day (`2026-11-02`), an instant (`2026-11-02T13:00`), or so long ago (`7d`, `12h`, `30m`), in UTC."""
    units = {"d": "days", "h": "hours", "m": "minutes", "w": "weeks"}
    try:
        if text[:-1].isdigit() and text[-1] in units:
            return datetime.now(UTC) - timedelta(**{units[text[-1]]: int(text[:-1])})
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f'"{text}" is no time; write 2026-11-02, 2026-11-02T13:00 or 7d') from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


Since = Annotated[
    datetime | None,
    typer.Option(
        "--from", parser=parse_instant, metavar="TIME", help="From this time on: 2026-11-02, or 7d ago."
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option("--to", parser=parse_instant, metavar="TIME", help="Before this time."),
]


class _CommandLine:
    """What stands before the command."""

    config: str | None = None


command_line = _CommandLine()


def settings(**given: Any) -> Settings:
    """The settings of this run; `given` are the options of the command that are settings, too."""
    return read(config=command_line.config, **given)
