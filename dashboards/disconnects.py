"""A client that gives up ends its questions: nobody would read the answers, and others wait behind them."""

import asyncio
from typing import Any

from warehouse.asker import Asker


class EndWithClient:
    """ASGI middleware: what is asked for a GET below `path` ends when its client disconnects."""

    def __init__(self, app: Any, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(self._path):
            await self._app(scope, receive, send)
            return
        asker, gone = Asker(), asyncio.Event()

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            await asyncio.to_thread(asker.leave)

        bodies = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def received() -> Any:
            if (empty := next(bodies, None)) is not None:
                return empty
            await gone.wait()
            return {"type": "http.disconnect"}

        watching = asyncio.create_task(watch())
        try:
            with asker.asking():
                await self._app(scope, received, send)
        finally:
            watching.cancel()
