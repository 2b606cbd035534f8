"""A configuration tried before it is in force: its examples, and what would be sent to whom."""

from gateway.config import Config, Node, Route
from gateway.config.problems import Problem
from gateway.failures import PermanentFailure
from gateway.model import UID
from gateway.route.examples import failures
from gateway.route.rules import Rules
from gateway.tags import Secret
from gateway.tags.configured import SHORTEST_SECRET, configured
from gateway.transcode.choose import choose_target
from gateway.transfer_syntax import NATIVE


def rehearse(config: Config, rules: Rules) -> list[Problem]:
    """What is wrong with tags and examples: such a configuration is not to be used."""
    return [*_wrong_tags(config), *failures(config, rules, sent_as)]


def _wrong_tags(config: Config) -> list[Problem]:
    """Changes of attributes that cannot be made, whatever the secret is."""
    found = []
    for index, route in enumerate(config.routes):
        try:
            if route.tags is not None:
                configured(route.tags, Secret(bytes(SHORTEST_SECRET)))
        except ValueError as error:
            found.append(config.problem(("routes", index, "tags"), f"routes.tags: {error}"))
    return found


def sent_as(stored: UID, node: Node, route: Route) -> UID | None:
    """The transfer syntax that a node gets an instance in, if it accepts all that it can read.

    None where nothing fits, and the delivery would be held.
    """
    can_read = node.can_read.syntaxes
    accepted = {stored, *NATIVE} if can_read is None else set(can_read)
    try:
        return choose_target(stored, accepted, change=route.pixels.change, can_read=can_read)
    except PermanentFailure:
        return None
