"""Which associations the SCP takes: AE titles, and how many in all and from one address.

The answer to a request that is not taken says which of these it was (PS3.8 Table 9-21).
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from gateway.model import UID
from gateway.upper_layer import negotiation
from gateway.upper_layer.events import (
    APPLICATION_CONTEXT,
    REJECT_APPLICATION_CONTEXT,
    REJECT_CALLED,
    REJECT_CALLING,
    REJECT_LIMIT,
    AssociateReject,
    AssociateRequest,
)


@dataclass(frozen=True, slots=True)
class ScpSettings:
    """How the SCP behaves. Sizes in bytes, times in seconds; defaults as configured.

    ``max_strangers`` bounds the connections on which no association was requested yet.
    """

    ae_title: str = "GATEWAY"
    check_called_ae: bool = False
    accept_from: Collection[str] = ()
    max_pdu_length: int = 131_072
    max_associations: int = 100
    max_associations_per_peer: int = 20
    max_strangers: int = 128
    artim_seconds: float = 30.0
    idle_seconds: float = 300.0
    message_seconds: float = 60.0
    max_object: int = 8 << 30
    storable: Collection[UID] = negotiation.STORABLE


class Associations:
    """The associations that are open, counted by the peer's address."""

    def __init__(self, settings: ScpSettings) -> None:
        self.settings = settings
        """May be replaced: the next association is measured by the new ones."""
        self._per_address: Counter[str] = Counter()
        self.draining = False

    def total(self) -> int:
        """How many there are."""
        return self._per_address.total()

    def rejection(self, request: AssociateRequest, address: str) -> AssociateReject | None:
        """Why an association is not accepted, None where it is."""
        settings = self.settings
        if request.application_context != APPLICATION_CONTEXT:
            return REJECT_APPLICATION_CONTEXT
        if settings.check_called_ae and request.called != settings.ae_title:
            return REJECT_CALLED
        if settings.accept_from and request.calling not in settings.accept_from:
            return REJECT_CALLING
        if self.draining or self.total() >= settings.max_associations:
            return REJECT_LIMIT
        if self._per_address[address] >= settings.max_associations_per_peer:
            return REJECT_LIMIT
        return None

    def began(self, address: str) -> None:
        """One more is open."""
        self._per_address[address] += 1

    def ended(self, address: str) -> None:
        """One less is open."""
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]
