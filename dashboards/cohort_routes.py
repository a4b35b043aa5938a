"""Cohorts over HTTP: everybody may look at them; saving and deleting needs a write key that may."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from dashboards.config import CohortEditing
from warehouse import cohorts, connect
from warehouse.answer import Answer, QuestionError
from warehouse.plain import json_bytes, records

_ONE = "/api/cohorts/{name}"
_BODY = {"content": {"application/json": {"schema": {"type": "object"}}}}


def add_cohorts(server: FastAPI, engine: Engine, editing: CohortEditing | None) -> None:
    """Routes to look at cohorts, and, for whom `editing` knows, to save and delete them."""
    writer = connect(editing.warehouse_url) if editing else None

    @server.get("/api/cohorts")
    def all_cohorts() -> Response:
        """All saved cohorts."""
        return _json(cohorts.cohorts(engine), "cohorts")

    @server.get(_ONE)
    def one_cohort(name: str) -> Response:
        """One cohort: its definition, and how many belong to it now."""
        return Response(json_bytes(_described(engine, name)), media_type="application/json")

    @server.get(f"{_ONE}/members")
    def members(name: str, limit: int = 1_000) -> Response:
        """Who belongs to it now."""
        return _json(cohorts.members(engine, name, most=limit), "members")

    async def edited(request: Request, edit: Callable[[Engine, str], dict[str, Any]]) -> Response:
        author = editing.author(request.headers.get("authorization")) if editing else None
        if author is None or writer is None:
            return _REFUSED
        done = await run_in_threadpool(lambda: edit(writer, author))
        return Response(json_bytes(done), media_type="application/json")

    @server.put(_ONE, openapi_extra={"requestBody": _BODY})
    async def save(name: str, request: Request) -> Response:
        """Save the definition in the body. The write key is the user of Basic authorization."""
        body = await request.body()

        def saved(writer: Engine, author: str) -> dict[str, Any]:
            try:
                definition = msgspec.json.decode(body)
            except msgspec.DecodeError as error:
                raise QuestionError(
                    f"the body is no JSON: {error}", remedy='Send e.g. {"did": "purchase"}.'
                ) from None
            cohorts.save(writer, name, definition, author=author)
            return _described(writer, name)

        return await edited(request, saved)

    @server.delete(_ONE)
    async def delete(name: str, request: Request) -> Response:
        """Delete a cohort. The write key is the user of Basic authorization."""

        def deleted(writer: Engine, author: str) -> dict[str, Any]:
            cohorts.delete(writer, name, author=author)
            return {"deleted": name}

        return await edited(request, deleted)


def _described(engine: Engine, name: str) -> dict[str, Any]:
    found = cohorts.described(engine, name)
    return {
        **records(found)[0],
        "definition": json.loads(found["definition"][0]),
        "watermark": found.watermark,
    }


def _json(found: Answer, noun: str) -> Response:
    said = {noun: records(found), "watermark": found.watermark, "sql": found.sql()}
    return Response(json_bytes(said), media_type="application/json")


_REFUSED = JSONResponse(
    {
        "message": "only a write key that may edit cohorts may save or delete them",
        "remedy": "Send one as the user of Basic authorization; DESIRELINE_COHORT_EDITORS names whose may.",
    },
    403,
)
