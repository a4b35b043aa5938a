"""Who stands behind the numbers of a funnel: at, open at and lost at each step."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Unpack

import pandas as pd
from sqlalchemy import Engine, text
from typing_extensions import Doc

from warehouse.among import Among, scope_of
from warehouse.analysis import analysis
from warehouse.answer import Answer, Measures, QuestionError, answer, ask
from warehouse.basis import watermark
from warehouse.binds import Binds
from warehouse.funnel_question import Order, Question, ms
from warehouse.keys import Per

_COLUMNS = ("step", "name", "state", "entered_at", "last_at")


@analysis("funnel-customers")
def funnel_customers(
    connection: Engine,
    steps: Annotated[Sequence[str | Mapping[str, Any]], Doc("Steps in order, as of a funnel.")],
    *,
    step: Annotated[int | None, Doc("Only those at this step, by its number.")] = None,
    state: Annotated[
        Literal["reached", "open", "lost", "converted"] | None,
        Doc("reached: who took the step; open, lost: who stands there; converted: who took the last."),
    ] = None,
    within: Annotated[str, Doc("Time from the first step to the last, e.g. 30m, 7d.")] = "7d",
    order: Annotated[
        Order, Doc("ordered: others may lie between the steps; strict: none may; any: in any order.")
    ] = "ordered",
    per: Annotated[Per, Doc("What is listed, each once.")] = "customer",
    by: Annotated[str | None, Doc("Also the value of this field, as of a funnel.")] = None,
    value_of: Annotated[
        str, Doc("Whose value it is: entry, last (step reached), every (step's), or a step's number.")
    ] = "entry",
    exclude: Annotated[
        Sequence[str | Mapping[str, Any]], Doc("Who does this between the steps is left out.")
    ] = (),
    most: Annotated[int, Doc("List so many, of the latest entries.")] = 1000,
    **among: Unpack[Among],
) -> Answer:
    """The customers who reached, are open at or were lost at each step of a funnel.

    One row per customer (journey, transaction, account) that the funnel with the same arguments counts, the latest
    entry first. Columns: customer (str; or journey, …), the field of `by`, step (int, the last that was reached), name
    (str), state (converted, open, lost), entered_at, last_at (when the counted try took its first step and its last,
    UTC). Without `step`, `reached` means the first. Part `total`: how many there are in all. The period selects
    entries. QuestionError as of a funnel.
    """
    question = Question(
        steps,
        scope_of(connection, among),
        within=within,
        order=order,
        per=per,
        by=by,
        value_of=value_of,
        exclude=exclude,
    )
    if step is not None and not 1 <= step <= question.last:
        raise QuestionError(
            f"there is no step {step} in a funnel of {question.last}",
            remedy=f"Let it be 1 to {question.last}.",
        )
    if most < 1:
        raise QuestionError(f"{most} customers cannot be listed", remedy="Let most be at least 1.")
    question.check_names(connection)
    up_to = watermark(connection)
    now = 0 if up_to is None else ms(up_to)
    tries = [
        one
        for one in question.walked(connection, now)
        if _listed(one.times, one.undecided, question, step, state)
    ]
    binds = Binds()
    found = ask(connection, text(_sql(question, binds, now, step, state, most)), binds)
    rows = [
        (one.unit, one.value, len(one.times), one.undecided, one.times[0], max(one.times)) for one in tries
    ]
    total = len(rows) + (int(found["total"][0]) if len(found) else 0)
    rows += list(found.drop(columns="total").itertuples(index=False, name=None))
    rows.sort(key=lambda row: (-row[4], row[0], row[1]))
    frame = pd.DataFrame(
        [_row(row, question) for row in rows[:most]], columns=[per, *([by] if by else []), *_COLUMNS]
    )
    return answer(
        frame.astype(
            {
                **dict.fromkeys([per, *([by] if by else []), "name", "state"], "str"),
                "step": "int64",
                **dict.fromkeys(("entered_at", "last_at"), "datetime64[ms, UTC]"),
            }
        ),
        found.sql(),
        up_to,
        measures=Measures(keys=(per, *([by] if by else []))),
        parts={"total": {"customers": total}},
        noun="customers",
    )


def _sql(question: Question, binds: Binds, now: int, step: int | None, state: str | None, most: int) -> str:
    return f"""
        select unit, value, level, undecided, times[1] as entered, arrayMax(times) as ended, count() over () as total
        from ({question.units(binds, now)}) where {_condition(question, step, state)}
        order by entered desc, unit, value limit {binds.bound(most)}"""  # noqa: S608  values are bound, names ours


def _condition(question: Question, step: int | None, state: str | None) -> str:
    conditions = {
        None: "1",
        "reached": f"level >= {step or 1} and times[{step or 1}] > 0",
        "open": "undecided",
        "lost": f"not undecided and level < {question.last}",
        "converted": f"level = {question.last}",
    }
    here = "" if step is None or state in ("reached", "converted") else f" and level = {step}"
    return conditions[state] + here


def _listed(
    times: Sequence[int], undecided: bool, question: Question, step: int | None, state: str | None
) -> bool:
    """The same as `_condition`, of a walked try."""
    level = len(times)
    if state == "reached":
        return level >= (step or 1) and times[(step or 1) - 1] > 0
    if state == "converted":
        return level == question.last
    if step is not None and level != step:
        return False
    return state is None or (undecided if state == "open" else not undecided and level < question.last)


def _row(row: tuple[Any, ...], question: Question) -> tuple[Any, ...]:
    unit, value, level, undecided, entered, ended = row
    name = f"any {level} of {question.last}" if question.order == "any" else question.steps[level - 1].name
    state = "converted" if level == question.last else "open" if undecided else "lost"
    at = (pd.Timestamp(entered, unit="ms", tz="UTC"), pd.Timestamp(ended, unit="ms", tz="UTC"))
    return (unit, *([value] if question.by else []), level, name, state, *at)
