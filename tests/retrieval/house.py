"""A spool with its door, as what is fetched comes into it."""

from datetime import UTC, datetime
from pathlib import Path

from gateway.config import default_config
from gateway.intake import Intake
from gateway.model import Instance
from gateway.route.rules import compile_rules
from gateway.spool import Spool


class House:
    """A spool with its door, and all that was kept through it."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.kept: list[Instance] = []
        self.intake = Intake(
            spool,
            compile_rules(default_config()),
            kept=lambda instance, _: self.kept.append(instance),
            clock=lambda: datetime.now(UTC),
        )

    def sops(self) -> list[str]:
        return sorted(each.sop_instance_uid for each in self.kept)

    def unfinished(self) -> list[Path]:
        """Parts that nobody finished or removed."""
        return list(self.spool.file_of(1).parents[1].rglob("*.part"))

    async def held(self, study: str) -> set[str]:
        return {each.sop_instance_uid for each in self.kept if each.study_uid == study}
