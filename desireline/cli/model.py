"""The journey model: whether one is right, what it says, which ones are shipped."""

import sys
from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import Annotated

import typer

from desireline.cli.options import settings
from models.journey_model import JourneyModel, load_model, schema, template, templates
from models.rules import PersonaRule
from models.yaml_reader import JourneyModelError, duration_text

app = typer.Typer(help="The journey model: phases, patience, attempts, weights.", no_args_is_help=True)

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME|FILE]", help="A shipped model or a YAML file; without it the one in force."
    ),
]


class Shown(StrEnum):
    """How a model is shown."""

    summary = "summary"
    yaml = "yaml"
    schema = "schema"


@app.command("check")
def check(model: Model = None) -> None:
    """Whether a journey model is right: otherwise file, line and remedy of all that is wrong, exit code 1."""
    from desireline.current_model import configured_model

    try:
        checked = configured_model(settings(journey_model=model))
    except JourneyModelError as error:
        for one in (error, *error.others):
            print(one, file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"{model or 'The model in force'} is right: {sentence(checked)}.")


@app.command("show")
def show(
    model: Model = None,
    format: Annotated[
        Shown,
        typer.Option(help="A summary for reading, the YAML to change, or the JSON Schema for an editor."),
    ] = Shown.summary,
    list_all: Annotated[bool, typer.Option("--list", help="Name the models that are shipped.")] = False,
) -> None:
    """What a journey model says; without a name, the one in force."""
    from desireline.current_model import configured_model, configured_model_text

    if list_all:
        for name in templates():
            print(f"{name:<10}{sentence(load_model(template(name), where=name))}")
        return
    if format is Shown.schema:
        print(schema(), end="")
        return
    read = settings(journey_model=model)
    if format is Shown.yaml:
        print(configured_model_text(read), end="")
    else:
        print("\n".join(summary(configured_model(read))))
        if model is None:
            print("\nThis model is in force. DESIRELINE_JOURNEY_MODEL names another.")


def sentence(model: JourneyModel) -> str:
    """What there is of everything, in a few words."""
    return (
        f"{len(model.phases)} phases, {len(model.rules)} rules, {len(model.attempts)} kinds of attempt, "
        f"{len(model.paved_path.steps) or 'no'} steps of a paved path, "
        f"{len(model.persona_rules) or 'no'} rules for personas"
    )


def summary(model: JourneyModel) -> Iterator[str]:
    """The model as lines for reading."""
    yield f'Journey model "{model.name}": {sentence(model)}.'
    yield ""
    yield "Phases, in the order that is wanted"
    for phase in model.phases:
        patience = model.patience_ms.get(phase)
        waits = (
            "final: a journey may end here"
            if patience is None
            else f"drop-off after {duration_text(patience)}"
        )
        types = {type_ for rule in model.rules if rule.phase == phase for type_ in rule.types or ()}
        yield f"  {phase:<16} {waits:<30} {_some(types, 4)}"
    yield ""
    yield "Journeys"
    yield f"  end after a silence of {duration_text(model.journey_gap_ms)}, or with: {_some(model.closes_journey)}"
    yield f"  convert with: {_some(model.converting_types)}"
    yield f"  hold service transactions, which end after {duration_text(model.transaction_gap_ms)}"
    yield ""
    yield "Attempts: opened by, completed by, abandoned after or by"
    for kind in model.attempts:
        ended = ", ".join((duration_text(kind.patience_ms), *sorted(kind.abandoned_by)))
        yield f"  {kind.kind:<16} {kind.opened_by:<30} {_some(kind.completed_by)} | {ended}"
    yield ""
    yield "Paved path"
    for number, step in enumerate(model.paved_path.steps, start=1):
        names = " or ".join((*sorted(step.types), *(f"any of {phase}" for phase in sorted(step.phases))))
        yield f"  {number}. {names}{' (may be left out)' if step.optional else ''}"
    yield f"  passed over: {_some(model.paved_path.passed_over)}"
    yield ""
    yield "Personas, where nobody said one; first match"
    for rule in model.persona_rules:
        yield f"  {rule.persona:<16} {' and '.join(_conditions(rule))}"
    yield f"  named: {_some(model.personas)}"
    yield ""
    yield "Pain points"
    pain = model.pain
    waits = ", ".join(f"{channel} {duration_text(ms)}" for channel, ms in pain.long_wait_ms.items())
    yield f"  scores at most: csat {pain.csat:g}, nps {pain.nps:g}, ces {pain.ces:g}, sentiment {pain.sentiment:g}"
    yield f"  long waits from: {waits or 'none'}; repeated contacts within {duration_text(pain.repeat_contact_ms)}"
    yield f"  failures: {_some(pain.failure_types | pain.payment_failed_types)}"
    yield ""
    yield f"One customer has only one: {_some(model.exclusive_kinds)}"


def _conditions(rule: PersonaRule) -> Iterator[str]:
    for field in ("types", "channels", "outcomes", "segments", "campaigns"):
        wanted = getattr(rule, field)
        if wanted is not None:
            yield f"{field}: {_some(wanted)}"
    for name, values in rule.properties.items():
        yield f"{name}: {', '.join(map(str, values))}"


def _some(names: Collection[str], most: int = 6) -> str:
    """Names by the alphabet; of many the first ones."""
    listed = sorted(names)
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return (", ".join(listed[:most]) or "none") + rest
