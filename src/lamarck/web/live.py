"""The live page: the views of the report, fed by server-sent events."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from lamarck._errors import LamarckError, RunMissing
from lamarck.server.source import Source
from lamarck.web.feed import Feed
from lamarck.web.page import LIBRARY, MODULES, STYLES, assemble, asset, import_map, plain_json

__all__ = ["page_routes"]

logger = logging.getLogger("lamarck.web")

_BATCH = 4096
"""Reports in one message."""

_PAUSE = 100
"""Events after which others get their turn."""

_GATHER = 0.25
"""Seconds in which what happens is gathered into one message."""

_SILENCE = 15.0
"""Seconds after which a word is sent that means nothing, so that nobody on the way takes the connection for dead."""

_LOOK = 1.0
"""Seconds between two looks at who is training: that somebody was lost is no event."""

_PATIENCE = 20.0
"""How many times longer than the summary took the next one waits."""

_TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}


def page_routes(source: Source, *, fetch: Callable[[str], str | None] = lambda run: None) -> list[BaseRoute]:
    """Returns the routes of the page: ``/``, its files under ``/assets``, and ``/v1/runs/{run}/stream``.

    Args:
        source: What is shown.
        fetch: The command that fetches the best weights of a run, or ``None`` if there is none.

    Example:
        >>> from lamarck.web.readonly import JournalSource
        >>> [route.path for route in page_routes(JournalSource("none.db"))]
        ['/', '/assets/{name:path}', '/v1/runs/{run}/stream']
    """
    channels = _Channels(source, fetch)

    async def page(request: Request) -> Response:
        return _page(source.runs(), request.query_params.get("run"))

    async def stream(request: Request) -> Response:
        try:
            channel = await channels.get(request.path_params["run"])
        except RunMissing as error:
            return PlainTextResponse(str(error), status_code=404)
        messages = channel.messages(request.headers.get("last-event-id", ""))
        return StreamingResponse(messages, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    return [Route("/", page), Route("/assets/{name:path}", _asset), Route("/v1/runs/{run}/stream", stream)]


# ---- the page and its files ------------------------------------------------------------------------------------------------------------------


def _page(runs: list[str], asked: str | None) -> Response:
    chosen = asked if asked in runs else "main" if "main" in runs else next(iter(runs), None)
    modules = import_map("./assets/{}".format)
    head = [
        *(f'<link rel="stylesheet" href="assets/{name}">' for name in STYLES),
        f'<script type="importmap">{modules}</script>',
        f'<script src="assets/{LIBRARY}"></script>',
        '<script type="module" src="assets/live.js"></script>',
    ]
    chosen_runs = plain_json({"runs": runs, "run": chosen})
    body = assemble(head, [f'<script type="application/json" id="config">{chosen_runs}</script>'])
    digest = base64.b64encode(hashlib.sha256(modules.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Response(
        body,
        media_type="text/html",
        headers={
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
    )


_FILES = {LIBRARY, "live.js", *STYLES, *(f"{name}.js" for name in MODULES)}


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _FILES:
        return PlainTextResponse("there is no such file", status_code=404)
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Content-Type": _TYPES[name.rpartition(".")[2]]}
    return Response(asset(name), headers=headers)


# ---- what viewers are told -------------------------------------------------------------------------------------------------------------------


@final
class _Channels:
    """One channel for each run that somebody has looked at."""

    def __init__(self, source: Source, fetch: Callable[[str], str | None]) -> None:
        self._source, self._fetch = source, fetch
        self._channels: dict[str, asyncio.Task[_Channel]] = {}

    async def get(self, run: str) -> _Channel:
        """Returns the channel of a run, when it has read what has happened.

        Raises:
            RunMissing: If there is no such run.
        """
        task = self._channels.get(run)
        if task is None or (task.done() and (task.exception() is not None or task.result().closed)):
            task = self._channels[run] = asyncio.create_task(_Channel.opened(self._source, run, self._fetch(run)))
        try:
            return await asyncio.shield(task)
        except LamarckError:  # anybody may ask for any name; what does not exist is not remembered
            self._channels.pop(run, None)
            raise


@final
class _Channel:
    """Follows a run for all who watch it."""

    def __init__(self, source: Source, run: str, feed: Feed, fetch: str | None) -> None:
        self._source, self._run, self._feed, self._fetch = source, run, feed, fetch
        self._changed = asyncio.Event()
        self.closed = False
        self._words: tuple[int, float, dict[str, Any]] = (0, 0.0, {})  # at which event, when again, what
        self._following = asyncio.create_task(self._follow())

    @classmethod
    async def opened(cls, source: Source, run: str, fetch: str | None) -> _Channel:
        first, *rest = await asyncio.to_thread(source.events, run)
        feed = Feed(first, run)
        await asyncio.to_thread(feed.add, rest)  # a long past is folded beside the event loop
        feed.mark()
        return cls(source, run, feed, fetch)

    async def _follow(self) -> None:
        try:
            async for number, event in self._source.follow(self._run, self._feed.seen):
                self._feed.add([event])
                self._wake()
                if number % _PAUSE == 0:
                    await asyncio.sleep(0)
        except LamarckError as error:
            logger.error("the page of run %r cannot follow it any more: %s", self._run, error)
        finally:
            self.closed = True
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def messages(self, last: str) -> AsyncIterator[str]:
        """Yields what a viewer has to be told.

        Args:
            last: The last message that it has got, as its browser says when it comes back.
        """
        feed = self._feed
        sent, told = _place(last, feed), 0
        yield "retry: 1000\n\n"
        if sent is None:
            sent = 0
            yield _message("run", feed.description)
        while True:
            changed = self._changed
            while sent < len(feed.columns):
                batch = feed.columns.batch(sent, sent + _BATCH)
                sent += len(batch["member"])
                yield _message("rows", batch, f"{feed.identity}.{sent}")
                await asyncio.sleep(0)
            members = [member.state for member in self._source.members(self._run)]
            yield _message("state", feed.state(members))
            at, words = await self._summary()
            if at != told:
                told = at
                yield _message("words", words)
            if self.closed:
                return
            await asyncio.sleep(_GATHER)
            quiet = 0.0
            while not changed.is_set() and not self.closed and members == [member.state for member in self._source.members(self._run)]:
                if quiet >= _SILENCE:
                    quiet = 0.0
                    yield ": still here\n\n"
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), _LOOK)
                quiet += _LOOK

    async def _summary(self) -> tuple[int, dict[str, Any]]:
        """The run in words, and at which event that was; made anew as often as it costs little, and at the end."""
        at, due, words = self._words
        seen, ended = self._feed.seen, self._feed.population.ended is not None
        if at != seen and (time.monotonic() >= due or ended):
            begun = time.monotonic()
            words = await asyncio.to_thread(self._feed.words, self._fetch)
            at, took = seen, time.monotonic() - begun
            self._words = (at, time.monotonic() + max(1.0, _PATIENCE * took), words)
        return at, words


def _place(last: str, feed: Feed) -> int | None:
    """How many reports of this very run a viewer has, or ``None`` if it has to begin anew."""
    identity, _, count = last.partition(".")
    known = identity == feed.identity and count.isdecimal() and int(count) <= len(feed.columns)
    return int(count) if known else None


def _message(event: str, data: Any, identity: str = "") -> str:
    head = f"event: {event}\n" + (f"id: {identity}\n" if identity else "")
    return f"{head}data: {plain_json(data)}\n\n"
