"""``fetch``: what is looked for at an origin server, how often, and fetched from there."""

from pydantic import Field, model_validator

from gateway.config.filters import OF_SERIES
from gateway.config.problems import Complaint, WrongValue
from gateway.config.readers import (
    LevelName,
    NodeReference,
    QueryFilter,
    RuleName,
    Seconds,
    Windows,
)
from gateway.config.section import Section


class Fetch(Section):
    """A rule: ``every`` so many seconds look at node ``from_`` for what meets ``filter``.

    ``level`` is what is searched for and fetched whole. ``during`` (): at any time.
    """

    name: RuleName
    from_: NodeReference = Field(alias="from")
    every: Seconds
    level: LevelName = "study"
    filter: QueryFilter
    during: Windows = ()

    @model_validator(mode="after")
    def _checked(self) -> "Fetch":
        wrong = sorted(OF_SERIES & set(self.filter)) if self.level == "study" else []
        if wrong:
            meant = "ModalitiesInStudy, or " if wrong[0] == "Modality" else ""
            text = f"{wrong[0]} is no attribute of a study; write {meant}level: series"
            raise WrongValue([Complaint(("filter", wrong[0]), text, at_key=True)])
        return self
