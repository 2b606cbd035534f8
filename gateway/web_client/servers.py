"""The origin servers of a configuration, which may be replaced while they are in use."""

import asyncio
from collections.abc import Iterator, Mapping

from gateway.web_client.origin_server import OriginServer
from gateway.web_client.settings import ServerSettings


class OriginServers(Mapping[str, OriginServer]):
    """Origin servers by the name of their node; one whose settings stay keeps its connections."""

    def __init__(self, settings: Mapping[str, ServerSettings] | None = None) -> None:
        self._servers: dict[str, OriginServer] = {}
        self._former: list[OriginServer] = []
        self.replace(settings or {})

    def replace(self, settings: Mapping[str, ServerSettings]) -> None:
        """From now on these; what is under way with former ones comes to its end."""
        before, self._servers = self._servers, {}
        for name, each in settings.items():
            server = before.get(name)
            known = server is not None and server.settings == each
            self._servers[name] = server if server is not None and known else OriginServer(each)
        kept = set(self._servers.values())
        self._former += [server for server in before.values() if server not in kept]

    async def aclose(self) -> None:
        """Close all connections."""
        servers = [*self._servers.values(), *self._former]
        await asyncio.gather(*(server.aclose() for server in servers))

    def __getitem__(self, name: str) -> OriginServer:
        return self._servers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._servers)

    def __len__(self) -> int:
        return len(self._servers)
