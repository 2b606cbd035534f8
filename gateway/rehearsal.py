"""A configuration tried before it is in force: its examples, what would be sent, and remarks."""

from collections.abc import Collection, Iterator, Mapping

from gateway.config import Config, Node, Route
from gateway.config.problems import Problem
from gateway.model import UID, Rendition
from gateway.route.examples import Sending, failures
from gateway.route.rules import Rules
from gateway.route.warnings import warnings
from gateway.tags import Secret
from gateway.tags.configured import SHORTEST_SECRET, configured
from gateway.transcode.choose import Reader, choose_form
from gateway.transcode.lineage import one_lineage
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


def remarks(config: Config) -> list[Problem]:
    """What a right configuration may have got wrong, in the order of the file."""
    return sorted([*warnings(config), *_unverified(config)])


def _unverified(config: Config) -> Iterator[Problem]:
    """What ``pixels.verify`` asks for and the decoders that are installed cannot do."""
    for index, route in enumerate(config.routes):
        pixels, text = route.pixels, ""
        if pixels.verify == "off":
            continue
        if pixels.change == "never":
            text = "pixels.verify has no effect: with change: never nothing is decoded"
        elif alone := one_lineage(lossy=pixels.verify != "lossless"):
            codings = "; ".join(alone)
            text = (
                f"pixels.verify: {pixels.verify}, and one code base alone decodes these here,"
                f" which are delivered unverified: {codings}"
            )
        if text:
            where = ("routes", index, "pixels", "verify")
            yield config.problem(where, f"route {route.name}: {text}")


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
