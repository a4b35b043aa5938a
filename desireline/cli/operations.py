"""Looking after it: does everything add up, what is set."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from desireline import render
from desireline.cli.options import Data, Formatted, settings
from desireline.errors import CheckFailed
from desireline.render import Format, show
from desireline.settings import describe

if TYPE_CHECKING:
    from desireline.balance import Balance


def add_to(app: typer.Typer) -> None:
    """`reconcile` and `settings`."""
    app.command(rich_help_panel="Looking after it")(reconcile)
    app.command("settings", rich_help_panel="Looking after it")(list_settings)


def reconcile(
    data: Data = None,
    spool: Annotated[
        Path | None, typer.Option(help="Folder of the spool, where a collector runs apart from the rest.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Count every minute and day bucket again, too.")
    ] = False,
    list_differences: Annotated[
        int, typer.Option("--list", min=0, help="How many ids of what does not add up to list.")
    ] = 20,
    wait: Annotated[
        int,
        typer.Option(
            min=0, help="Wait so many seconds for what is still on its way before counting it missing."
        ),
    ] = 10,
    format: Formatted = Format.table,
) -> None:
    """Count what was accepted against what the warehouse holds; exit code 3 if it does not add up."""
    from desireline import configs
    from desireline import reconcile as reconciliation
    from desireline.asking import asking
    from desireline.running import DataFolder

    read = settings()
    folder = spool or DataFolder((data or read.data).expanduser().absolute()).spool
    config = msgspec.structs.replace(configs.collector(read), spool_dir=str(folder))
    with asking(read, data) as connection, _reading(folder) as progress:
        balance = reconciliation.reconcile(
            connection, folder, patience_s=wait, config=config, deep=deep, progress=progress
        )
    if format is Format.json:
        print(render.as_json(balance.as_record(list_differences)), end="")
    elif format is Format.csv:
        show(balance.counts.astype({"stitched": "string"}), format)  # else a null makes fractions of them
    else:
        _show_balance(balance, list_differences)
    if not balance.holds:
        raise CheckFailed(
            balance.sentence, remedy="If touchpoints are on their way, try again with --wait 60."
        )


@contextmanager
def _reading(folder: Path) -> "Iterator[Callable[[int, int], None]]":
    """A progress bar on the terminal; gives what is told of bytes read, and to read."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = render.console(sys.stderr)
    columns = (TextColumn("the spool"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task(str(folder), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show_balance(balance: "Balance", listed: int) -> None:
    counts, reasons, to = balance.counts, balance.reasons, render.console()
    always = {"source", "channel", "element", "accepted", "loaded", "stitched"}
    show(
        counts,
        Format.table,
        hidden=[name for name in counts.columns if name not in always and not counts[name].any()],
    )
    if len(reasons):
        show(reasons, Format.table, hidden=[] if reasons["missing"].any() else ["missing"])
    to.print(balance.sentence, soft_wrap=True)
    for one in balance.elsewhere:
        for count, how in (
            (one.foreign, "published straight to Kafka"),
            (one.other_spools, "of other spools"),
        ):
            if count:
                to.print(f"beside them {count:,} touchpoints of {one.source}, {one.channel}, {how}")
    for difference in balance.differences[:listed]:
        to.print(f"  {difference.kind}: {difference.id}  {difference.says}", soft_wrap=True)


def list_settings(format: Formatted = Format.table) -> None:
    """Every setting: variable, default, meaning. Also the values of this environment are checked."""
    import pandas as pd

    settings()
    lines = [
        {"variable": line.variable, "default": line.default, "allowed": line.allowed, "meaning": line.meaning}
        for line in describe()
    ]
    if format is not Format.table:
        show(pd.DataFrame(lines), format)
        return
    shown = [
        {"variable": f"{line['variable']}\n  = {line['default'] or '…'}", "meaning": line["meaning"]}
        for line in lines
    ]
    show(pd.DataFrame(shown), format, title="In TOML the same names in small letters without DESIRELINE_")
