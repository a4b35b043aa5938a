"""Looking after it: does everything add up, what is set, which journey model applies."""

from pathlib import Path
from typing import Annotated

import typer

from desireline import render
from desireline.cli.options import Data, Formatted, settings
from desireline.errors import CheckFailed
from desireline.render import Format, show
from desireline.settings import describe

model_app = typer.Typer(help="The journey model: phases, patience, attempts, weights.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """`reconcile` and `settings`."""
    app.command(rich_help_panel="Looking after it")(reconcile)
    app.command("settings", rich_help_panel="Looking after it")(list_settings)


def reconcile(
    data: Data = None,
    list_missing: Annotated[int, typer.Option("--list", min=0, help="How many missing ids to list.")] = 20,
    wait: Annotated[
        int,
        typer.Option(
            min=0, help="Wait so many seconds for what is still on its way before counting it missing."
        ),
    ] = 0,
    format: Formatted = Format.table,
) -> None:
    """Count what was accepted against what the warehouse holds; exit code 3 if something is missing."""
    from desireline import reconcile as balance
    from desireline.asking import asking
    from desireline.running import DataFolder

    read = settings()
    folder = DataFolder((data or read.data).expanduser().absolute())
    with asking(read, data) as connection:
        result = balance.reconcile(connection, folder.spool, patience_s=wait)
    if format is Format.json:
        print(render.as_json(result.as_record(list_missing)), end="")
    else:
        show(result.counts, format)
        if format is Format.table:
            render.console().print(result.sentence)
            for missing in result.missing[:list_missing]:
                print(f"  missing: {missing}")
    if not result.holds:
        raise CheckFailed(
            f"{len(result.missing):,} accepted touchpoints are neither in the warehouse nor rejected",
            remedy="If touchpoints are on their way, try again with --wait 60.",
        )


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


@model_app.command("check")
def check_model(
    file: Annotated[
        Path | None, typer.Argument(help="YAML file; without it the one that is set, or ours.")
    ] = None,
) -> None:
    """Whether a journey model is right: otherwise file, line and remedy, and exit code 1."""
    from desireline import configs

    model = configs.journey_model(settings(journey_model=str(file) if file else None))
    print(
        f"{file or 'the journey model'}: {len(model.phases)} phases, {len(model.rules)} rules, "
        f"{len(model.attempts)} kinds of attempt"
    )


@model_app.command("show")
def show_model() -> None:
    """The journey model that applies, as YAML."""
    from desireline import configs

    print(configs.journey_model_text(settings()), end="")
