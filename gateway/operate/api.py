"""Administration over HTTP: ``GET /api/config`` and ``POST /api/reload``, answered in JSON."""

from collections.abc import Mapping

from aiohttp import web

from gateway.config import ConfigError
from gateway.failures import Failure
from gateway.operate.reload import Reloader, Standing


def add_reload(app: web.Application, reloader: Reloader) -> None:
    """Add the resources that show and replace the configuration."""

    async def config(_: web.Request) -> web.Response:
        return web.json_response(_facts(reloader.standing))

    async def reload(_: web.Request) -> web.Response:
        try:
            standing = await reloader.reload()
        except Failure as failure:
            problems = failure.problems if isinstance(failure, ConfigError) else [failure]
            facts = {"applied": False, "problems": [str(each) for each in problems]}
            return web.json_response({**facts, **_facts(reloader.standing)}, status=422)
        return web.json_response({"applied": True, "problems": [], **_facts(standing)})

    app.add_routes([web.get("/api/config", config), web.post("/api/reload", reload)])


def _facts(standing: Standing) -> Mapping[str, object]:
    tried = standing.tried_at
    return {
        "file": standing.file,
        "hash": standing.digest,
        "loaded_at": standing.loaded_at.isoformat(),
        "needs_restart": list(standing.needs_restart),
        "last_error": {
            "text": standing.error,
            "hash": standing.tried_digest,
            "at": tried.isoformat() if tried else None,
        }
        if standing.error
        else None,
    }
