"""What a node would get of an object: in which form, decoded by what; or why it would be held."""

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.cli.objects import Shown
from gateway.config import Config, Node, Route
from gateway.config.units import format_size
from gateway.deliver.policy import RoutePolicy
from gateway.failures import Failure, PermanentFailure
from gateway.model import UID, Rendition
from gateway.rehearsal import sent_as
from gateway.route.rules import Decision
from gateway.tags import Secret, TagChanges
from gateway.tags.configured import SHORTEST_SECRET, configured
from gateway.tags.edits import edits
from gateway.tags.reading import read
from gateway.tags.recode import readable
from gateway.transcode.choose import NativeTooLong
from gateway.transcode.outlook import Outlook, of_file, of_header
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE, IMPLICIT_LE, name_of

_PLAIN: Final = (EXPLICIT_LE, IMPLICIT_LE)
"""What every node is offered, and nearly all of them accept."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One destination. ``syntax`` is the name of a transfer syntax, "" where that as stored is not
    known; ``photometric``, ``decoder`` and ``certain`` are as in ``Outlook``. ``held`` says why
    nothing would be sent; ``verified`` whether pixels are decoded twice, where the route asks.
    """

    node: str
    route: str
    syntax: str = ""
    as_stored: bool = False
    photometric: str = ""
    certain: bool = True
    decoder: str | None = ""
    held: str = ""
    remarks: tuple[str, ...] = ()
    verified: str = ""

    def sentence(self) -> str:
        """For people."""
        start = f"{self.node} by route {self.route}"
        if self.held:
            return f"{start}: held: {self.held}"
        if not self.syntax:
            return f"{start}; in which form cannot be told: its transfer syntax is not known"
        return f"{start}, {self.form()}"

    def form(self) -> str:
        """Transfer syntax, colours and decoder in words."""
        parts = [f"as stored ({self.syntax})" if self.as_stored else f"as {self.syntax}"]
        if self.photometric:
            doubt = "" if self.certain else ", if the codestream says what the header says"
            parts.append(self.photometric + doubt)
        if self.decoder is None:
            parts.append("decoded: by what, only the file tells")
        elif self.decoder:
            parts.append(f"decoded by {self.decoder}")
        return ", ".join(parts)


def outcomes(shown: Shown, decision: Decision, config: Config) -> Iterator[Outcome]:
    """One for each destination that an object is owed to."""
    for owed in decision.owed:
        route = next(each for each in config.routes if each.name == owed.route)
        yield _Way(shown, owed.destination, config.nodes[owed.destination], route).outcome()


@dataclass(frozen=True, slots=True)
class _Way:
    """One object on its way to one node by one route."""

    shown: Shown
    name: str
    node: Node
    route: Route

    def outcome(self) -> Outcome:
        """What would become of it."""
        unknown = Outcome(self.name, self.route.name, decoder=None, certain=False)
        try:
            self._check()
            if not self._stored:
                return unknown
            found = self._sent()
        except Failure as failure:
            return replace(unknown, held=str(failure))
        return replace(found, remarks=(*found.remarks, *self._remarks(found)))

    @property
    def _stored(self) -> UID:
        return self.shown.header.get("TransferSyntaxUID", "")

    @property
    def _photometric(self) -> str:
        return self.shown.header.get("PhotometricInterpretation", "")

    def _sent(self, accepted: Collection[UID] | None = None) -> Outcome:
        """The form that is sent to a node which accepts these, by default all that it can read."""
        target, rendition = sent_as(
            self._stored, self._photometric, self.name, self.node, self.route, accepted
        )
        try:
            return self._formed(target, self._look(target, rendition))
        except PermanentFailure as failure:
            if not self._goes_as_stored(failure):
                raise
            found = self._formed(self._stored, self._look(self._stored, Rendition()))
            return replace(found, remarks=(f"it cannot be uncompressed: {failure}",))

    def _look(self, target: UID, rendition: Rendition) -> Outlook:
        file, tags = self.shown.file, self._changes()
        untouched = target == self._stored and rendition == Rendition() and tags is None
        data = self.shown.data
        if data and tags is not None:
            edits(tags, read(data, [(0, len(data))], BY_UID[EXPLICIT_LE]))
        if file is None or untouched:
            return of_header(self._stored, self._photometric, target, rendition)
        with tempfile.TemporaryDirectory() as scratch:
            return of_file(file, target, rendition, Path(scratch), tags)

    def _changes(self) -> TagChanges | None:
        """What the attributes go through; whether it can be done does not depend on the key."""
        tags, charsets = self.route.tags, self.node.can_read.charset or ()
        if readable(self.shown.header.get("SpecificCharacterSet", ""), charsets):
            charsets = ()
        try:
            changes = () if tags is None else configured(tags, Secret(bytes(SHORTEST_SECRET)))
        except ValueError as error:
            raise PermanentFailure(f"tags: {error}") from error
        return TagChanges(changes, charsets) if changes or charsets else None

    def _formed(self, target: UID, outlook: Outlook) -> Outcome:
        self._check_length(outlook.length or self.shown.size)
        as_stored = target == self._stored and outlook.decoder == ""
        return Outcome(
            node=self.name,
            route=self.route.name,
            syntax=name_of(target),
            as_stored=as_stored and outlook.photometric == self._photometric,
            photometric=outlook.photometric,
            certain=outlook.certain,
            decoder=outlook.decoder,
            verified=self._verified(outlook),
        )

    def _verified(self, outlook: Outlook) -> str:
        verify = self.route.pixels.verify
        if verify == "off" or outlook.decoder == "":
            return ""
        asked = RoutePolicy(verify=verify).verified(self.shown.header.get("SOPInstanceUID", ""))
        if not asked:
            return f"not verified: not among the {verify} that are drawn"
        if outlook.decoder is None:
            return "verified or not: only the file tells"
        if not outlook.first:
            return ""
        if asked == "lossless" and outlook.lossy:
            return "not verified: it is lossy, and lossless ones are to be verified"
        if not outlook.seconds:
            return f"cannot be verified: all decoders are of one lineage, {outlook.first}"
        return f"verified by {outlook.first} against {' or '.join(outlook.seconds)}"

    def _goes_as_stored(self, failure: PermanentFailure) -> bool:
        can_read = self.node.can_read
        if can_read.syntaxes is not None and self._stored not in can_read.syntaxes:
            return False
        if isinstance(failure, NativeTooLong) and can_read.color in ("", self._photometric):
            return True
        return self.route.pixels.if_undecodable == "forward-as-stored"

    def _remarks(self, found: Outcome) -> Iterator[str]:
        tags = self._changes()
        if self.route.tags is not None:
            changed = ", ".join(key for _, key in self.route.tags.changed())
            yield f"attributes changed: {changed}"
        if tags is not None and tags.charsets:
            doubt = "" if self.shown.file or self.shown.data else ", where the text allows it"
            yield f"text written in {' or '.join(tags.charsets)}{doubt}"
        if found.verified:
            yield found.verified
        stored = name_of(self._stored)
        if (
            self.node.can_read.syntaxes is None
            and found.syntax == stored
            and self._stored not in _PLAIN
        ):
            yield f"where it does not accept {stored}: {self._otherwise()}"

    def _otherwise(self) -> str:
        try:
            found = self._sent(_PLAIN)
        except Failure as failure:
            return f"held: {failure}"
        return found.form() + (f", {found.verified}" if found.verified else "")

    def _check(self) -> None:
        """What a node cannot read in any form. Raises PermanentFailure."""
        can_read, header = self.node.can_read, self.shown.header
        sop_class, classes = header.get("SOPClassUID", ""), can_read.sop_classes
        if sop_class and classes is not None and sop_class not in classes:
            raise PermanentFailure("it does not read this SOP class (can_read.sop_classes)")
        bits = header.get("BitsStored", "")
        if can_read.bits is not None and bits.isdecimal() and int(bits) > can_read.bits:
            text = (
                f"{bits} bits per sample are more than it reads (can_read.bits: {can_read.bits})"
            )
            raise PermanentFailure(text)

    def _check_length(self, size: int) -> None:
        most = self.node.can_read.max_instance
        if most is not None and size > most:
            limit = f"can_read.max_instance: {format_size(most)}"
            raise PermanentFailure(f"{size} bytes are more than it takes ({limit})")
