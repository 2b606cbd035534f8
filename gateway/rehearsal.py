"""A configuration tried before it is in force: its examples, what would be sent, and remarks."""

from collections.abc import Collection, Iterator, Mapping

from gateway.config import Config, Node, Route
from gateway.config.problems import Problem
from gateway.model import UID, Rendition
from gateway.route.examples import Sending, failures
from gateway.route.rules import Rules
from gateway.route.values import Met
from gateway.route.warnings import warnings
from gateway.tags import Secret
from gateway.tags.configured import SHORTEST_SECRET, configured
from gateway.transcode.choose import Way
from gateway.transcode.lineage import one_lineage
from gateway.transcode.outlook import of_header
from gateway.transcode.reader import Reader
from gateway.transfer_syntax import NATIVE


def rehearse(config: Config, rules: Rules) -> list[Problem]:
    """What is wrong with tags and examples: such a configuration is not to be used."""

    def outcome(met: Met, name: str, route: Route) -> Sending:
        reader, header = reader_of(name, config.nodes[name]), met.header
        if sop_class := header.get("SOPClassUID", ""):
            reader.check_sop_class(sop_class)
        reader.check_bits(header.get("BitsStored", ""))
        reader.check_size(met.size or 0)
        way = way_of(header, reader, route)
        target, rendition = way.form()
        told = of_header(way.stored, way.photometric, target, rendition)
        return Sending(target, told.photometric)

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


def reader_of(name: str, node: Node) -> Reader:
    """What the configuration says that a node can read."""
    can_read = node.can_read
    syntaxes, classes = can_read.syntaxes, can_read.sop_classes
    return Reader(
        name,
        can_read=None if syntaxes is None else frozenset(syntaxes),
        rendition=Rendition(color=can_read.color, planar=can_read.planar),
        max_instance=can_read.max_instance,
        sop_classes=None if classes is None else frozenset(classes),
        bits=can_read.bits,
        charsets=can_read.charset or (),
    )


def way_of(
    header: Mapping[str, str],
    reader: Reader,
    route: Route,
    accepted: Collection[UID] | None = None,
    *,
    mislabelled: bool = False,
) -> Way:
    """How an instance of which this is known goes to a node by a route.

    ``accepted`` is what the node agrees to, by default all that it can read; ``mislabelled`` as
    in ``Instance``.
    """
    stored = header.get("TransferSyntaxUID", "")
    if accepted is None:
        accepted = {stored, *NATIVE} if reader.can_read is None else reader.can_read
    photometric, pixels = header.get("PhotometricInterpretation", ""), route.pixels
    return Way(
        stored,
        photometric,
        accepted,
        reader,
        pixels.change,
        pixels.if_undecodable,
        mislabelled,
    )
