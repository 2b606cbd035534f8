"""``query_retrieve``: a node's holdings offered by C-FIND, C-MOVE and C-GET (PS3.4 C).

Read and checked; the gateway has no service yet that answers by it.
"""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import PlainValidator, model_validator

from gateway.config.dicom_names import find_attribute
from gateway.config.problems import Complaint, WrongValue
from gateway.config.readers import (
    Destinations,
    LevelName,
    NodeReference,
    Nodes,
    OwnTitle,
    QueryName,
    Seconds,
    each,
    some,
    whole,
)
from gateway.config.section import Section
from gateway.config.values import parse_choice

ServiceName: TypeAlias = Literal["echo", "find", "move", "get"]
SERVICES: Final = ("echo", "find", "move", "get")


def _keyword(value: object) -> str:
    return find_attribute(value if isinstance(value, str) else "").keyword


Services: TypeAlias = Annotated[
    tuple[ServiceName, ...], PlainValidator(each(lambda word: parse_choice(word, SERVICES)))
]
Keywords: TypeAlias = Annotated[tuple[str, ...], PlainValidator(some(_keyword))]


class QueryLimits(Section):
    """A query is answered with so many matches at most, and has to name one of some keys."""

    max_results: Annotated[int, whole(1, 100_000)] = 500
    require_one_of: Keywords = ()


class QueryRetrieve(Section):
    """An AE title of the gateway behind which the instances of ``source`` can be found.

    ``called_ae`` None is the gateway's own. ``allow`` are the nodes that may ask, ``move_to``
    those that C-MOVE may send to (without it those that may ask). ``source`` speaks DICOMweb: the
    gateway has C-STORE alone as SCU. ``level`` is what is fetched
    from the source at once. A pending response goes out every ``keep_alive`` seconds while the
    source is being asked.
    """

    name: QueryName
    called_ae: OwnTitle = None
    allow: Destinations
    services: Services = SERVICES
    source: NodeReference
    move_to: Nodes = ()
    level: LevelName = "series"
    keep_alive: Seconds = 5.0
    limits: QueryLimits = QueryLimits()

    @model_validator(mode="after")
    def _checked(self) -> "QueryRetrieve":
        if self.move_to and "move" not in self.services:
            text = "move_to is for C-MOVE, and services leave it out"
            raise WrongValue([Complaint(("move_to",), text, at_key=True)])
        return self
