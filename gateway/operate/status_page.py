"""The status page at ``/``: which configuration is in force, and what each node is owed.

It needs no script and shows nothing of a patient. Whoever may administer may see it.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import Final

from aiohttp import web

from gateway import __version__
from gateway.failures import Failure
from gateway.operate.reload import Standing
from gateway.spool import Spool
from gateway.spool.history import History
from gateway.spool.rows import Counts, DestinationCounts

_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="10">
<title>dicom-gateway</title><style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; max-width: 70em }
table { border-collapse: collapse } td, th { padding: .2em 1em .2em 0; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums } pre { white-space: pre-wrap }
.bad { color: #a00 }
</style></head><body>
"""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}


def add_status_page(
    app: web.Application,
    spool: Spool,
    standing: Callable[[], Standing],
    ready: Callable[[], str],
    clock: Callable[[], datetime],
    routing: Callable[[], bool],
) -> None:
    """Add the page; ``ready`` returns "" or why nothing is taken in, ``routing`` whether there
    are routes."""

    async def page(_: web.Request) -> web.Response:
        try:
            found: Counts | str = await spool.counts()
            alone = await asyncio.to_thread(_unrouted, spool.ledger.parent) if routing() else None
        except Failure as failure:
            found, alone = str(failure), None
        lines = [*_gateway(ready()), *_configuration(standing()), *_queues(found, clock())]
        lines += [] if alone is None else _left_over(alone)
        text = _HEAD + "\n".join(lines) + "\n</body></html>\n"
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

    app.add_routes([web.get("/", page)])


def _gateway(reason: str) -> Iterator[str]:
    yield f"<h1>dicom-gateway {escape(__version__)}</h1>"
    yield f'<p class="bad">Takes nothing: {escape(reason)}</p>' if reason else "<p>Ready</p>"


def _configuration(standing: Standing) -> Iterator[str]:
    yield "<h2>Configuration in force</h2>"
    yield _table(
        ("File", standing.file or "none: the embedded default"),
        ("SHA-256", standing.digest or "none"),
        ("Since", _time(standing.loaded_at)),
        ("Waits for a restart", ", ".join(standing.needs_restart) or "nothing"),
    )
    if standing.error and standing.tried_at is not None:
        digest = standing.tried_digest or "cannot be read"
        when = _time(standing.tried_at)
        yield f'<p class="bad">Not taken at {when}, SHA-256 {escape(digest)}:</p>'
        yield f'<pre class="bad">{escape(standing.error)}</pre>'


def _queues(found: Counts | str, now: datetime) -> Iterator[str]:
    yield "<h2>Deliveries</h2>"
    if isinstance(found, str):
        yield f'<p class="bad">{escape(found)}</p>'
        return
    yield "<table><tr><th>Node</th><th>owed</th><th>of these tried</th><th>held</th>"
    yield "<th>oldest</th><th>delivered</th></tr>"
    for name, queue in found.destinations.items():
        cells = "".join(f'<td class="number">{escape(text)}</td>' for text in _cells(queue, now))
        yield f"<tr><td>{escape(name)}</td>{cells}</tr>"
    yield "</table>"
    yield f"<p>{found.instances} instances in the spool, {found.size / 1e9:.1f} GB</p>"


def _unrouted(folder: Path) -> int:
    """Asked over a connection of its own: it may take longer than a delivery should wait."""
    with History(folder) as history:
        return history.unrouted()


def _left_over(count: int) -> Iterator[str]:
    if not count:
        yield "<p>0 instances that no route has taken</p>"
        return
    what = "instance that no route has" if count == 1 else "instances that no route has"
    yield f'<p class="bad"><strong>{count} {what} taken</strong>, deleted after spool.keep. See'
    yield "<code>dicom-gateway queue list --unrouted</code>, mend the routes, and then:"
    yield "<code>dicom-gateway queue reroute --unrouted</code></p>"


def _cells(queue: DestinationCounts, now: datetime) -> Iterable[str]:
    age = "" if queue.oldest is None else str(timedelta(seconds=int(_seconds(queue.oldest, now))))
    return str(queue.owed), str(queue.deferred), str(queue.held), age, str(queue.delivered)


def _seconds(earlier: datetime, now: datetime) -> float:
    return max((now - earlier).total_seconds(), 0)


def _table(*rows: tuple[str, str]) -> str:
    cells = (f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<table>{''.join(cells)}</table>"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %z}"
