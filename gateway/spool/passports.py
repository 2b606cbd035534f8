"""How derived pixels were made, and which decodes never came to an end: rows beside an instance.

A passport is written with whatever transaction comes next; the verdict of the delivery that it
belongs to comes later, so whatever is settled has its passport.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from gateway.model import UID, Passport, Verification
from gateway.spool.queries import Selector, is_uid
from gateway.spool.rows import micros, moment

Interrupted: TypeAlias = tuple[int, str]
"""The spool id of an instance and the form it was being brought into."""

_RECORD: Final = (
    "INSERT INTO passport (spool_id, form, made_at, decoder, verified, record) "
    "SELECT spool_id, ?, ?, ?, ?, ? FROM instance WHERE spool_id = ? "
    "ON CONFLICT (spool_id, form) DO UPDATE SET made_at = excluded.made_at, "
    "decoder = excluded.decoder, verified = excluded.verified, record = excluded.record"
)
_AMEND: Final = "UPDATE passport SET record = ? WHERE spool_id = ? AND form = ?"
_INTERRUPT: Final = (
    "INSERT INTO interrupted (spool_id, form, tries) "
    "SELECT spool_id, ?, 1 FROM instance WHERE spool_id = ? "
    "ON CONFLICT (spool_id, form) DO UPDATE SET tries = interrupted.tries + 1"
)
_COLUMNS: Final = "p.spool_id, p.form, p.made_at, p.record"
_OF_UID: Final = (
    f"SELECT {_COLUMNS} FROM passport p JOIN instance i ON i.spool_id = p.spool_id "  # noqa: S608
    "WHERE i.sop_instance_uid = ? ORDER BY p.spool_id, p.form"
)
_OF_DELIVERY: Final = (
    f"SELECT {_COLUMNS} FROM passport p JOIN delivery d ON d.spool_id = p.spool_id "  # noqa: S608
    "WHERE d.delivery_id = ? ORDER BY p.form"
)


@dataclass(frozen=True, slots=True)
class PassportRow:
    """A passport as the ledger has it: whose, for which form, and when it was made.

    ``form`` is the transfer syntax UID, with what else was asked for behind it.
    """

    spool_id: int
    form: str
    made_at: datetime
    passport: Passport


def record(
    connection: sqlite3.Connection, spool_id: int, form: str, passport: Passport, now: datetime
) -> int:
    """Write a passport, in the place of an earlier one; nothing where the instance is gone.

    The decode came to its end: what interrupted earlier ones was none of the instance's doing.
    """
    verified = passport.verification.state if passport.verification else ""
    values = (form, micros(now), passport.decoder, verified, _json(passport), spool_id)
    connection.execute("DELETE FROM interrupted WHERE spool_id = ? AND form = ?", (spool_id, form))
    return connection.execute(_RECORD, values).rowcount


def amend(connection: sqlite3.Connection, spool_id: int, form: str, passport: Passport) -> int:
    """Write a passport again of which more is known by now; nothing where there is none."""
    return connection.execute(_AMEND, (_json(passport), spool_id, form)).rowcount


def _json(passport: Passport) -> str:
    return json.dumps(passport, default=_fields, separators=(",", ":"))


def _fields(record: Passport | Verification) -> dict[str, Any]:
    """As ``asdict``, which copies each value."""
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def count_interrupted(connection: sqlite3.Connection, found: Iterable[Interrupted]) -> int:
    """Count decodes that a gateway did not live to see the end of."""
    rows = [(form, spool_id) for spool_id, form in found]
    return connection.executemany(_INTERRUPT, rows).rowcount if rows else 0


def all_interrupted(connection: sqlite3.Connection) -> set[int]:
    """The instances of which a decode was interrupted at any time."""
    return {row[0] for row in connection.execute("SELECT spool_id FROM interrupted").fetchall()}


def interruptions(connection: sqlite3.Connection, spool_id: int, form: str) -> int:
    """How often the gateway ended while this instance was brought into this form."""
    query = "SELECT tries FROM interrupted WHERE spool_id = ? AND form = ?"
    row = connection.execute(query, (spool_id, form)).fetchone()
    return int(row[0]) if row else 0


def forget(connection: sqlite3.Connection, spool_id: int) -> None:
    """Delete what stands beside an instance."""
    connection.execute("DELETE FROM passport WHERE spool_id = ?", (spool_id,))
    connection.execute("DELETE FROM interrupted WHERE spool_id = ?", (spool_id,))


def passports(connection: sqlite3.Connection, selector: Selector) -> list[PassportRow]:
    """The passports of one SOP Instance UID, or of the instance of one delivery."""
    query, value = (_OF_UID, selector) if is_uid(selector) else (_OF_DELIVERY, int(selector))
    return [
        PassportRow(spool_id, form, moment(made_at), passport_of(json.loads(text)))
        for spool_id, form, made_at, text in connection.execute(query, (value,)).fetchall()
    ]


def passport_of(facts: dict[str, Any]) -> Passport:
    """A passport from its JSON; what a newer gateway has added is passed over."""
    known = {name: facts[name] for name in Passport.__dataclass_fields__ if name in facts}
    verification = known.get("verification")
    if verification is not None:
        known["verification"] = Verification(
            **{**verification, "decoders": tuple(verification["decoders"])}
        )
    known["notes"] = tuple(known.get("notes", ()))
    target: UID = known.pop("target", "")
    return Passport(target, **known)
