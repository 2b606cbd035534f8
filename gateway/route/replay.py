"""Old rules and new ones over the same instances: which of them would go elsewhere."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.model import Instance, Owed
from gateway.route.rules import Rules


@dataclass(frozen=True, slots=True)
class Change:
    """One instance, and to whom it would no longer go, or go as well.

    A destination that is owed it by another route than before is in both.
    """

    instance: Instance
    gone: tuple[Owed, ...]
    new: tuple[Owed, ...]


def changes(
    old: Rules, new: Rules, instances: Iterable[tuple[Instance, Mapping[str, str]]]
) -> Iterator[Change]:
    """The instances, each with what both rules read of its header, that would be treated apart.

    The time that rules depend on is that of the instance's arrival.
    """
    for instance, header in instances:
        before, after = (set(decided(rules, instance, header)) for rules in (old, new))
        if before != after:
            gone, added = before - after, after - before
            yield Change(instance, _sorted(gone), _sorted(added))


def decided(rules: Rules, instance: Instance, header: Mapping[str, str]) -> tuple[Owed, ...]:
    """To whom an instance that has arrived is owed by some rules."""
    known = known_of(instance, header)
    decision = rules.route(known, instance.origin, size=instance.size, now=instance.received_at)
    return decision.owed


def known_of(instance: Instance, header: Mapping[str, str]) -> dict[str, str]:
    """The header as rules see it: with what is known of an instance beside its data set."""
    return {
        **header,
        "TransferSyntaxUID": instance.transfer_syntax,
        "SOPClassUID": instance.sop_class_uid,
        "SOPInstanceUID": instance.sop_instance_uid,
    }


def _sorted(owed: Iterable[Owed]) -> tuple[Owed, ...]:
    return tuple(sorted(owed, key=lambda each: (each.destination, each.route)))
