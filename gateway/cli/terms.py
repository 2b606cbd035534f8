"""Whether a sender is let in, and when a delivery is made: in words, before it comes to it."""

from collections.abc import Iterator
from datetime import datetime

from gateway.config import Config, Route
from gateway.config.units import format_duration, format_rate
from gateway.deliver.hours import opens_at
from gateway.model import AS_RECEIVED, Arrival, Origin
from gateway.receive.associations import Associations
from gateway.upper_layer.events import (
    REJECT_CALLED,
    REJECT_CALLING,
    AssociateRequest,
    UserInformation,
)
from gateway.wiring import order_of, scp_settings, zone


def refusal(origin: Origin, config: Config) -> str:
    """Why a peer that calls so gets no association, "" where it does, or nobody says who it is."""
    if origin.arrival != Arrival.C_STORE:
        return ""
    request = AssociateRequest(origin.called, origin.calling, (), UserInformation())
    answer = Associations(scp_settings(config)).rejection(request, origin.address)
    if answer == REJECT_CALLED:
        own = config.gateway.ae_title
        return f"it calls {origin.called}, and gateway.dicom.check_called_ae takes {own} alone"
    if answer == REJECT_CALLING and origin.calling:
        return f"{origin.calling} is not in gateway.dicom.accept_from ({_let_in(config)})"
    return ""


def who_may_send(origin: Origin, config: Config) -> str:
    """The AE titles that are let in, where some are and nobody says who sends; else ""."""
    if origin.calling or config.gateway.dicom.accept_from is None:
        return ""
    return f"only {_let_in(config)} may send (gateway.dicom.accept_from)"


def _let_in(config: Config) -> str:
    return ", ".join(config.gateway.dicom.accept_from or ())


def occasion(route: Route, node: str, config: Config, now: datetime | None) -> str:
    """When what a route sends to a node is delivered, and how fast, seen from ``now``."""
    delivery = route.delivery
    parts = [*_held_back(route, config, now)] or ["at once"]
    if delivery.priority != "normal":
        parts.append(f"{delivery.priority} priority")
    if (order := order_of(node, config)) != AS_RECEIVED:
        parts.append(order)
    rates = (
        (delivery.objects_per_s, "instances a second"),
        (delivery.mbit_per_s, "Mbit/s"),
    )
    parts += [f"at most {format_rate(rate)} {unit}" for rate, unit in rates if rate is not None]
    return ", ".join(parts)


def _held_back(route: Route, config: Config, now: datetime | None) -> Iterator[str]:
    group, windows = route.group, route.delivery.during
    if group is not None:
        quiet, deadline = format_duration(group.quiet_for), format_duration(group.deadline)
        yield (
            f"once no more of its {group.by} has come for {quiet}, or {deadline} after the first"
        )
    if windows:
        hours = f"in these hours: {', '.join(map(str, windows))}"
        opens = now if now is None else opens_at(windows, now, zone(config))
        if now is None or opens is None or group is not None:
            yield hours
        elif opens == now:
            yield f"{hours} (open)"
        else:
            yield f"{hours} (from {opens.astimezone(zone(config)):%a %H:%M})"
