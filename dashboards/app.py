"""Pages and query API as one ASGI application: pages under `/`, answers under `/api`, their description
at `/docs`.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from threading import Condition
from typing import Any

import dash_mantine_components as dmc
from cachetools import TTLCache, cached
from dash import Dash, Input, Output, State, dcc, html
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from dashboards import api
from dashboards.cohort_routes import add_cohorts
from dashboards.config import DashboardsConfig
from dashboards.disconnects import EndWithClient
from dashboards.pages import journey_map as page
from dashboards.url_state import MapState, read, write
from warehouse import connect
from warehouse.answer import QuestionError
from warehouse.journey_map import JourneyMap, drawn, personas

log = logging.getLogger(__name__)

_PERSONAS_KEPT_S = 60.0


def create_app(config: DashboardsConfig) -> FastAPI:
    """The pages and the API over the warehouse at `config.warehouse_url`; nothing is asked before a
    request.
    """
    engine = connect(config.warehouse_url)
    server = FastAPI(
        title="desireline", description="Customer journeys across channels: every analysis as JSON."
    )
    api.add_routes(server, engine, config.model)
    add_cohorts(server, engine, config.cohort_editing)
    server.add_middleware(EndWithClient, path="/api/")

    # one answer for all who look at the same map at the same time; who comes meanwhile waits for it, too
    @cached(TTLCache(maxsize=64, ttl=config.refresh_interval_ms / 1000 / 2), condition=Condition())
    def map_of(state: MapState) -> JourneyMap:
        return drawn(engine, config.model, since=state.since(datetime.now(UTC)), persona=state.persona)

    @cached(TTLCache(maxsize=1, ttl=_PERSONAS_KEPT_S), condition=Condition())
    def personas_known() -> list[str]:
        return personas(engine)

    pages = Dash(
        __name__,
        server=server,  # type: ignore[arg-type]  # its annotation knows Flask alone
        title="desireline · journey map",
        update_title=None,  # type: ignore[arg-type]  # as its documentation has it
        assets_folder=str(Path(__file__).parent / "assets"),
        suppress_callback_exceptions=True,
    )
    # no callback of ours is asked over a WebSocket; offered one, every browser would knock on it for ever
    pages.backend.websocket_capability = False
    pages.layout = dmc.MantineProvider(
        theme={"primaryColor": "teal", "fontFamily": "Inter, system-ui, 'Segoe UI', Roboto, sans-serif"},
        children=[dcc.Location(id="url", refresh=False), html.Div(id="page")],
    )

    # Dash runs a callback on the event loop, where one that waits holds up every page and every answer:
    # whatever asks does so in a thread

    @pages.callback(Output("page", "children"), Input("url", "pathname"), State("url", "search"))
    def show(_pathname: str, search: str | None) -> Any:
        return page.frame(read(search or ""), config.refresh_interval_ms)

    @pages.callback(Output("persona", "data"), Input("persona", "id"), State("persona", "value"))
    async def choices(_id: str, chosen: str | None) -> list[str]:
        try:
            known = await run_in_threadpool(personas_known)
        except SQLAlchemyError:
            log.warning("the warehouse did not answer; the page is shown without personas", exc_info=True)
            known = []
        # one that is not to be chosen would be given up for everybody, without a word
        return known if chosen is None or chosen in known else [*known, chosen]

    @pages.callback(
        Output("map", "children"),
        Output("url", "search"),
        Input("period", "value"),
        Input("persona", "value"),
        Input("refresh", "n_intervals"),
        # asked again before it has answered, the browser would drop the answer: a slow one was never shown
        running=[(Output("refresh", "disabled"), True, False)],
    )
    async def refresh(period: str, persona: str | None, _intervals: int | None) -> Any:
        state = MapState(period=period, persona=persona)
        try:
            found = await run_in_threadpool(map_of, state)
        except SQLAlchemyError:
            log.warning("the warehouse did not answer", exc_info=True)
            return page.apology("The warehouse does not answer. The page tries again by itself."), write(
                state
            )
        except QuestionError as error:  # a bookmark names a persona that there is no more
            return page.apology(str(error)), write(state)
        return page.numbers(found, datetime.now(UTC)), write(state)

    return server
