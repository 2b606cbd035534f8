"""What the gateway says and counts: one function per event, in the field's words.

Each function writes one log line (structlog) and moves the matching counter (prometheus-client).
Every function takes named facts (AE titles, addresses, UIDs, reasons) and never a data set, so
no patient's name can reach a log. No counter has a label that a peer could make up. Levels: info
for what should happen, warning for what an administrator may want to know, error for what needs a
person.
"""

from collections.abc import Iterable, Sequence

import structlog
from prometheus_client import Counter, Gauge, Histogram

from gateway.model import Delivery, Instance, Origin
from gateway.transfer_syntax import name_of

_log = structlog.get_logger("gateway")

ASSOCIATIONS = Counter(
    "gateway_associations_total",
    "Associations of peers by how they ended: released, broken or refused",
    ["ended"],
)
RECEIVED = Counter("gateway_received_total", "Instances kept", ["transfer_syntax"])
RECEIVED_BYTES = Counter("gateway_received_bytes_total", "Bytes of instances kept")
UNROUTED = Counter("gateway_unrouted_total", "Instances kept that no route takes")
REFUSED = Counter("gateway_refused_total", "Instances refused at the door", ["status"])
DELIVERY_ASSOCIATIONS = Counter(
    "gateway_delivery_associations_total",
    "Associations opened to deliver, by how they ended: released, lost or aborted",
    ["destination", "ended"],
)
DELIVERED = Counter("gateway_delivered_total", "Deliveries done", ["destination"])
DEFERRED = Counter("gateway_deferred_total", "Deliveries put off", ["destination"])
HELD = Counter("gateway_held_total", "Deliveries held for a person", ["destination"])
UNVERIFIED = Counter(
    "gateway_unverified_total",
    "Instances decoded that were to be verified, and no decoder of another code base could",
    ["transfer_syntax"],
)
INDEX_REFUSED = Gauge("gateway_index_refused", "1 while the index of searches cannot be written")
DECODE_SECONDS = Histogram(
    "gateway_decode_seconds",
    "Time to transcode one instance",
    ["transfer_syntax", "decoder"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120),
)


def association_closed(
    origin: Origin, *, received: int, refused: int, seconds: float, outcome: str
) -> None:
    """One line per association that a peer opened, when it ends. ``outcome`` is a short phrase."""
    ASSOCIATIONS.labels("released" if outcome == "released" else "broken").inc()
    _log.info(
        "association closed",
        calling=origin.calling,
        called=origin.called,
        address=origin.address,
        received=received,
        refused=refused,
        seconds=round(seconds, 3),
        outcome=outcome,
    )


def association_refused(origin: Origin, reason: str) -> None:
    """A peer was turned away before anything was transferred."""
    ASSOCIATIONS.labels("refused").inc()
    _log.warning(
        "association refused",
        calling=origin.calling,
        called=origin.called,
        address=origin.address,
        reason=reason,
    )


def instance_received(
    instance: Instance,
    destinations: Iterable[str],
    milliseconds: float,
    unrouted: bool = False,
) -> None:
    """An instance is durable and known to be owed to ``destinations``.

    ``unrouted``: there are routes, and none takes it; it goes when the spool's ``keep`` is over.
    """
    RECEIVED.labels(name_of(instance.transfer_syntax)).inc()
    RECEIVED_BYTES.inc(instance.size)
    _log.info(
        "instance received",
        instance=instance.sop_instance_uid,
        spool_id=instance.spool_id,
        calling=instance.origin.calling,
        syntax=name_of(instance.transfer_syntax),
        **({"mislabelled": True} if instance.mislabelled else {}),
        bytes=instance.size,
        owed_to=" ".join(destinations) or "nobody",
        ms=round(milliseconds, 1),
    )
    if unrouted:
        UNROUTED.inc()
        _log.warning(
            "no route takes the instance",
            instance=instance.sop_instance_uid,
            spool_id=instance.spool_id,
            calling=instance.origin.calling,
            called=instance.origin.called,
            address=instance.origin.address,
            do="it is deleted after spool.keep: see to the routes, then queue reroute --unrouted",
        )


def instance_refused(origin: Origin, sop_instance_uid: str, status: int, reason: str) -> None:
    """An instance was not taken; the peer was told ``status``."""
    REFUSED.labels(f"0x{status:04X}").inc()
    _log.warning(
        "instance refused",
        instance=sop_instance_uid,
        calling=origin.calling,
        address=origin.address,
        status=f"0x{status:04X}",
        reason=reason,
    )


def transcoded(
    instance_uid: str,
    source: str,
    target: str,
    decoder: str,
    seconds: float,
    photometric: str = "",
    notes: Sequence[str] = (),
    unverified: bool = False,
) -> None:
    """Pixels were decoded; ``decoder`` is "" where only the data set's encoding changed.

    ``notes`` say what was mended or decided, and what no longer holds; without any the line is
    for debugging. ``unverified``: no other code base could decode them a second time.
    """
    if unverified:
        UNVERIFIED.labels(name_of(source)).inc()
    DECODE_SECONDS.labels(name_of(source), decoder or "none").observe(seconds)
    log = _log.info if notes else _log.debug
    log(
        "instance transcoded",
        instance=instance_uid,
        source=name_of(source),
        target=name_of(target),
        decoder=decoder or "none",
        ms=round(seconds * 1000, 1),
        **({"photometric": photometric} if photometric else {}),
        **({"notes": "; ".join(notes)} if notes else {}),
    )


def delivered(delivery: Delivery, transfer_syntax: str, decoder: str, warning: str) -> None:
    """A destination has confirmed an instance."""
    DELIVERED.labels(delivery.destination).inc()
    _log.info(
        "instance delivered",
        instance=delivery.instance.sop_instance_uid,
        spool_id=delivery.instance.spool_id,
        destination=delivery.destination,
        syntax=name_of(transfer_syntax),
        **({"decoder": decoder} if decoder else {}),
        **({"warning": warning} if warning else {}),
    )


def deferred(delivery: Delivery, reason: str, due_in_seconds: float) -> None:
    """A delivery will be tried again."""
    DEFERRED.labels(delivery.destination).inc()
    _log.warning(
        "delivery deferred",
        instance=delivery.instance.sop_instance_uid,
        spool_id=delivery.instance.spool_id,
        destination=delivery.destination,
        attempts=delivery.attempts + 1,
        retry_in_s=round(due_in_seconds, 1),
        reason=reason,
    )


def held(delivery: Delivery, reason: str) -> None:
    """A delivery waits for a person."""
    HELD.labels(delivery.destination).inc()
    _log.error(
        "delivery held",
        instance=delivery.instance.sop_instance_uid,
        spool_id=delivery.instance.spool_id,
        destination=delivery.destination,
        reason=reason,
        do="dicom-gateway queue retry|drop",
    )


def note(event: str, **facts: object) -> None:
    """Anything else worth one line at information level: started, drained, swept."""
    _log.info(event, **facts)


def alarm(event: str, **facts: object) -> None:
    """Anything else that an administrator should see: bad bytes on the port, a full disk."""
    _log.warning(event, **facts)


def bug(event: str, error: BaseException) -> None:
    """An exception nobody expected; with its traceback."""
    _log.error(event, exc_info=error)


def delivery_association_ended(
    destination: str, *, sent: int, failed: int, seconds: float, outcome: str
) -> None:
    """One line per association opened to deliver. ``outcome``: released, lost or aborted."""
    DELIVERY_ASSOCIATIONS.labels(destination, outcome).inc()
    _log.info(
        "delivery association ended",
        destination=destination,
        sent=sent,
        failed=failed,
        seconds=round(seconds, 3),
        outcome=outcome,
    )
