"""A new configuration in a running gateway: read, checked, and in force between two instances.

A file with a problem changes nothing. What only a restart can change (listeners, the place of the
spool, workers) stays as it was and is named.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from prometheus_client import Gauge
from pydantic import BaseModel

from gateway import telemetry
from gateway.config import Config, load
from gateway.failures import Failure, PermanentFailure, TemporaryFailure
from gateway.operate.config_files import ConfigFiles

SUCCESS = Gauge("gateway_config_reload_success", "1 unless the last attempt to reload failed")
LOADED = Gauge("gateway_config_loaded_timestamp_seconds", "When what is in force was loaded")
HASH = Gauge("gateway_config_info", "The configuration in force, by its file's SHA-256", ["hash"])

_DICOM: Final = ("check_called_ae", "accept_from", "max_pdu", "max_associations",
                 "max_associations_per_peer", "artim_timeout", "idle_timeout",
                 "message_timeout")  # fmt: skip
APPLIED: Final = frozenset(
    {
        *("version", "nodes", "routes", "fetch", "query_retrieve", "examples", "serve.upstream"),
        *("gateway.ae_title", "gateway.time_zone", "gateway.drain_timeout", "gateway.reload"),
        *(f"gateway.dicom.{name}" for name in _DICOM),
        *("gateway.spool.keep", "gateway.spool.refuse_below_free"),
        *("gateway.web.auth", "gateway.web.cors"),
    }
)
"""The settings that a reload puts in force, each with all that is in it."""

S = TypeVar("S", bound=BaseModel)

Prepare = Callable[[Config], Callable[[], None]]
"""Does what takes time, off the event loop; what it returns puts the configuration in force."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The configuration in force, and what came of the last attempt to replace it.

    ``file`` "" is the embedded default. ``digest`` is its SHA-256 with what it includes.
    ``needs_restart`` are the settings in the file that are not in force. ``error`` is why the
    last attempt, at ``tried_at`` with a file of ``tried_digest``, has changed nothing; "" where
    all is well.
    """

    file: str
    digest: str
    loaded_at: datetime
    needs_restart: tuple[str, ...] = ()
    error: str = ""
    tried_at: datetime | None = None
    tried_digest: str = ""


class Reloader:
    """Keeps the configuration of a running gateway; one attempt at a time."""

    def __init__(
        self, file: Path | None, config: Config, prepare: Prepare, clock: Callable[[], datetime]
    ) -> None:
        self._file = file
        self._files = None if file is None else ConfigFiles(file)
        self._prepare = prepare
        self._clock = clock
        self._lock = asyncio.Lock()
        self.config = config
        """What is in force."""
        digest = self._digest()
        self.standing = Standing("" if file is None else str(file), digest, clock())
        self._seen = self._done = digest
        self._show()

    async def reload(self) -> Standing:
        """Put the file as it is now in force, as far as it can be.

        Raises Failure where nothing has changed, and says why.
        """
        async with self._lock:
            digest = ""
            try:
                if self._file is None:
                    raise PermanentFailure(
                        "the gateway runs without a configuration file: there is none to reload"
                    )
                digest = await asyncio.to_thread(self._digest)
                await self._replace(self._file, digest)
            except Failure as failure:
                self._failed(digest, failure)
                raise
            finally:
                self._done = self._seen = digest
                self._show()
            return self.standing

    async def look(self) -> None:
        """Reload where the file has changed, and was left alone since the last look."""
        if self._file is None:
            return
        digest = await asyncio.to_thread(self._digest)
        if digest == self._seen and digest not in ("", self._done):
            try:
                await self.reload()
            except Failure:
                return  # has been told
        self._seen = digest

    async def _replace(self, file: Path, digest: str) -> None:
        try:
            new, config, swap = await asyncio.to_thread(self._read, file)
            if await asyncio.to_thread(self._digest) != digest:
                raise TemporaryFailure(  # noqa: TRY301
                    f"{file} was written while it was read: reload once more"
                )
            swap()
        except Failure:
            raise
        except Exception as error:
            telemetry.bug("the configuration cannot be put in force", error)
            raise TemporaryFailure(f"unexpected {type(error).__name__}, see the log") from error
        self.config = config
        needs = tuple(differences(new, config))
        self.standing = Standing(str(file), digest, self._clock(), needs)
        telemetry.note(
            "configuration reloaded",
            file=str(file),
            hash=digest,
            nodes=len(config.nodes),
            routes=len(config.routes),
        )
        if needs:
            telemetry.alarm(
                "settings wait for a restart of the gateway",
                settings=" ".join(needs),
            )

    def _digest(self) -> str:
        return "" if self._files is None else self._files.digest()

    def _read(self, file: Path) -> tuple[Config, Config, Callable[[], None]]:
        new = load(file)
        config = merged(self.config, new)
        return new, config, self._prepare(config)

    def _failed(self, digest: str, failure: Failure) -> None:
        self.standing = replace(
            self.standing, error=str(failure), tried_at=self._clock(), tried_digest=digest
        )
        telemetry.alarm(
            "configuration not reloaded: the old one stays in force",
            file=self.standing.file,
            hash=digest,
            in_force=self.standing.digest,
            reason=str(failure),
        )

    def _show(self) -> None:
        SUCCESS.set(not self.standing.error)
        LOADED.set(self.standing.loaded_at.timestamp())
        HASH.clear()
        HASH.labels(self.standing.digest).set(1)


def merged(old: Config, new: Config) -> Config:
    """The new configuration as far as a running gateway can take it; the rest is the old one's."""
    here, there = old.gateway.web, new.gateway.web
    if (here.listen, here.tls) == (there.listen, there.tls):
        return _merged(old, new, APPLIED)
    # Whom the new listener lets in without being asked, the old one may not.
    return _merged(old, new, APPLIED - {"gateway.web.auth"})


def _merged(old: S, new: S, applied: frozenset[str], prefix: str = "") -> S:
    kept: dict[str, Any] = {}
    for name, field in type(new).model_fields.items():
        key = prefix + (field.alias or name)
        mine, others = getattr(old, name), getattr(new, name)
        if key not in applied:
            sections = isinstance(mine, BaseModel) and isinstance(others, BaseModel)
            kept[name] = _merged(mine, others, applied, f"{key}.") if sections else mine
    return new.model_copy(update=kept)


def differences(one: BaseModel, other: BaseModel, prefix: str = "") -> Iterator[str]:
    """The settings in which two sections differ, such as ``gateway.web.listen``."""
    for name, field in type(one).model_fields.items():
        mine: Any = getattr(one, name)
        others: Any = getattr(other, name)
        if mine == others:
            continue
        key = prefix + (field.alias or name)
        if isinstance(mine, BaseModel) and isinstance(others, BaseModel):
            yield from differences(mine, others, f"{key}.")
        else:
            yield key
