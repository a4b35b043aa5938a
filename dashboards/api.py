"""Every analysis over HTTP: `GET /api/…` mirrors the command line, with the same names."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dashboards.analysis_routes import add_analyses
from models.errors import DesirelineError
from models.journey_model import JourneyModel
from warehouse import (
    identities,
    identity_report,
    summary,
)
from warehouse.answer import Answer
from warehouse.plain import json_bytes, records


def add_routes(server: FastAPI, engine: Engine, model: JourneyModel) -> None:
    """Add the routes; errors of ours answer 400 with `message` and `remedy`, a silent warehouse 503."""

    @server.exception_handler(DesirelineError)
    async def wrong_question(_: Request, error: DesirelineError) -> JSONResponse:
        return JSONResponse({"message": error.what, "remedy": error.remedy}, 400)

    @server.exception_handler(SQLAlchemyError)
    async def no_warehouse(_: Request, error: SQLAlchemyError) -> JSONResponse:
        said = str(error).splitlines()[0][:300]
        return JSONResponse(
            {"message": f"the warehouse does not answer: {said}", "remedy": "Try again."}, 503
        )

    @server.get("/api/identity/report")
    def stitching() -> Response:
        """How good the stitching is."""
        found = identity_report.identity_report(engine, model=model)
        return _json({**identities.parts(found), "watermark": found.totals.watermark})

    @server.get("/api/identity/decisions")
    def decided(all: bool = False) -> Response:
        """What people decided about identities; `all`: also what holds no more."""
        return _answer(identities.decisions(engine, all=all))

    @server.get("/api/identity/{identifier:path}")
    def who_is(identifier: str) -> Response:
        """The customer and household behind an identifier, and why."""
        found = identities.identity(engine, identifier, model=model)
        return _json({**identities.parts(found), "watermark": found.summary.watermark})

    @server.get("/api/summary")
    def totals() -> Response:
        """What the warehouse holds, in one row."""
        return _answer(summary.summary(engine))

    add_analyses(server, engine)

    @server.get("/healthz", include_in_schema=False)
    def healthz() -> Response:
        """Asks nobody else, so that a slow warehouse restarts no page."""
        return Response("ok\n", media_type="text/plain")


def _answer(found: Answer, rows: str = "rows") -> Response:
    return _json({rows: records(found), "watermark": found.watermark, "sql": found.sql()})


def _json(said: dict[str, Any]) -> Response:
    return Response(json_bytes(said), media_type="application/json")
