"""A transcoder without workers: what it makes is real."""

from pathlib import Path

from gateway.model import UID, Checks, Rendition, Undigested
from gateway.tags import TagChanges
from gateway.transcode.instance import Transcoded, transcode
from gateway.transcode.later import digests_of_files


class InThisProcess:
    """Transcodes where it is called."""

    async def transcode(
        self,
        source: Path,
        target: UID,
        out: Path,
        rendition: Rendition = Rendition(),  # noqa: B008 - a frozen value
        checks: Checks = Checks(),  # noqa: B008 - a frozen value
        tags: TagChanges | None = None,
    ) -> Transcoded:
        return transcode(source, target, out, rendition=rendition, checks=checks, tags=tags)

    async def digests(self, source: Path, out: Path, left: Undigested) -> tuple[str, str]:
        return digests_of_files(source, out, left)
