"""A configuration tried before it is in force: its examples, and what would be sent to whom."""

from collections.abc import Collection, Mapping

from gateway.config import Config, Node, Route
from gateway.config.problems import Problem
from gateway.model import UID, Rendition
from gateway.route.examples import Sending, failures
from gateway.route.rules import Rules
from gateway.tags import Secret
from gateway.tags.configured import SHORTEST_SECRET, configured
from gateway.transcode.choose import Reader, choose_form
from gateway.transcode.outlook import of_header
from gateway.transfer_syntax import NATIVE


def rehearse(config: Config, rules: Rules) -> list[Problem]:
    """What is wrong with tags and examples: such a configuration is not to be used."""

    def outcome(header: Mapping[str, str], name: str, route: Route) -> Sending:
        stored = header.get("TransferSyntaxUID", "")
        photometric = header.get("PhotometricInterpretation", "")
        target, rendition = sent_as(stored, photometric, name, config.nodes[name], route)
        return Sending(target, of_header(stored, photometric, target, rendition).photometric)

    return [*_wrong_tags(config), *failures(config, rules, outcome)]


def _wrong_tags(config: Config) -> list[Problem]:
    """Changes of attributes that cannot be made; a key that is in a file is not asked for."""
    found = []
    for index, route in enumerate(config.routes):
        try:
            if route.tags is not None:
                key = route.tags.key
                secret = bytes(SHORTEST_SECRET) if key is None else key.value.encode()
                configured(route.tags, Secret(secret))
        except ValueError as error:
            found.append(config.problem(("routes", index, "tags"), f"routes.tags: {error}"))
    return found


def sent_as(
    stored: UID,
    photometric: str,
    name: str,
    node: Node,
    route: Route,
    accepted: Collection[UID] | None = None,
) -> tuple[UID, Rendition]:
    """The transfer syntax that a node gets an instance in, and what else is done to its pixels.

    ``accepted`` is what the node agrees to, by default all that it can read. Raises
    PermanentFailure where nothing fits, and the delivery would be held.
    """
    can_read = node.can_read
    if accepted is None:
        accepted = {stored, *NATIVE} if can_read.syntaxes is None else set(can_read.syntaxes)
    wanted = Rendition(color=can_read.color, planar=can_read.planar)
    reader = Reader(name, can_read.syntaxes, wanted)
    target, rendition = choose_form(stored, photometric, accepted, reader, route.pixels.change)
    return target, rendition if target in NATIVE else Rendition()
