"""Every analysis over HTTP: `GET /api/NAME` with the parameters that the command line has, `POST` with them as JSON.

Long definitions fit into no address, so both are there. `format=csv` or `parquet` gives the rows as a file.
"""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import Response
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from warehouse.analysis import Analysis
from warehouse.answer import Answer, QuestionError
from warehouse.catalogue import analyses
from warehouse.parameters import Parameter, arguments, parameters
from warehouse.plain import document, flat, json_bytes

FORMATS = ("json", "csv", "parquet")
_JSON_TYPES = {int: "integer", float: "number", bool: "boolean"}


def add_analyses(server: FastAPI, engine: Engine) -> None:
    """Two routes for each analysis in the catalogue."""
    for asked in analyses():
        known = parameters(asked)
        doc = (asked.__doc__ or "").splitlines()[0]
        path = f"/api/{asked.name}"
        server.get(path, name=asked.name, description=doc, openapi_extra=_in_address(known))(
            _getting(asked, engine)
        )
        server.post(path, name=f"{asked.name} (JSON)", description=doc, openapi_extra=_in_body(known))(
            _posting(asked, engine)
        )
        leading = [one for one in known if one.leading]
        if len(leading) == 1 and not leading[0].several:
            name = leading[0].written
            server.get(f"{path}/{{{name}:path}}", name=f"{asked.name} of one", description=doc)(
                _getting(asked, engine)
            )


def _getting(asked: Analysis[Any], engine: Engine) -> Callable[..., Any]:
    several = {one.written for one in parameters(asked) if one.several}

    async def route(request: Request) -> Response:
        said = request.query_params
        given: dict[str, Any] = {
            name: said.getlist(name) if name in several else said[name] for name in said if name != "format"
        }
        return await _answered(asked, engine, given | request.path_params, said.get("format"))

    return route


def _posting(asked: Analysis[Any], engine: Engine) -> Callable[..., Any]:
    async def route(request: Request) -> Response:
        try:
            given = msgspec.json.decode(await request.body(), type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise QuestionError(
                f"the body is no JSON object: {error}", remedy='Send e.g. {"steps": ["product_view"]}.'
            ) from None
        form = given.pop("format", None) or request.query_params.get("format")
        return await _answered(asked, engine, given, form)

    return route


async def _answered(
    asked: Analysis[Any], engine: Engine, given: Mapping[str, Any], form: str | None
) -> Response:
    if form is not None and form not in FORMATS:
        raise QuestionError(f'format "{form}" is not known', remedy=f"It is one of {', '.join(FORMATS)}.")
    ready = arguments(asked, given)
    return await run_in_threadpool(lambda: response(asked(engine, **ready), asked.name, form or "json"))


def response(found: Answer, name: str, form: str = "json") -> Response:
    """An answer as JSON, or its rows as a file."""
    if form == "json":
        return Response(json_bytes(document(found)), media_type="application/json")
    kept = {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
    if form == "csv":
        return Response(
            flat(found).to_csv(index=False, lineterminator="\n"), media_type="text/csv", headers=kept
        )
    file = BytesIO()
    found.to_parquet(file, index=False)
    return Response(file.getvalue(), media_type="application/vnd.apache.parquet", headers=kept)


def _in_address(known: tuple[Parameter, ...]) -> dict[str, Any]:
    said = [
        {
            "name": one.written,
            "in": "query",
            "required": one.required,
            "description": one.meaning,
            "schema": _schema(one),
        }
        for one in known
    ]
    form = {"name": "format", "in": "query", "schema": {"enum": list(FORMATS), "default": "json"}}
    return {"parameters": [*said, form]}


def _in_body(known: tuple[Parameter, ...]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {one.written: {"description": one.meaning, **_schema(one)} for one in known},
        "required": [one.written for one in known if one.required],
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _schema(one: Parameter) -> dict[str, Any]:
    if one.name in ("since", "until"):
        return {"type": "string", "examples": ["2026-11-02", "2026-11-02T13:00", "7d"]}
    value: dict[str, Any] = {"type": _JSON_TYPES.get(one.plain_type, "string")}
    if one.takes_objects:
        value = {"type": ["string", "object"]}
    if one.choices:
        value["enum"] = list(one.choices)
    if one.several:
        return {"type": "array", "items": value}
    return value if one.required or one.default is None else value | {"default": one.default}
