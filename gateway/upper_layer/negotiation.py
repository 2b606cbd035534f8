"""What an acceptor agrees to: presentation contexts, roles, lengths (PS3.8 §9.3.3, PS3.7 Annex D).

Every abstract syntax that is not known to belong to another service is taken for a storage SOP
class, so unknown and private ones are accepted too. Among the transfer syntaxes the proposer's
order decides.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Final

from pynetdicom.service_class import (
    NonPatientObjectStorageServiceClass,
    ServiceClass,
    StorageServiceClass,
)
from pynetdicom.sop_class import uid_to_service_class

from gateway.model import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION, UID
from gateway.transfer_syntax import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, KNOWN
from gateway.upper_layer.events import (
    APPLICATION_CONTEXT,
    AnsweredContext,
    AssociateAccept,
    AssociateRequest,
    AsynchronousWindow,
    ContextResult,
    ProposedContext,
    RoleSelection,
    UserInformation,
)

VERIFICATION: Final = "1.2.840.10008.1.1"

STORABLE: Final = frozenset(syntax.uid for syntax in KNOWN)
"""Transfer syntaxes of instances that can be kept: all whose data set can be read."""

_STORING: Final = (StorageServiceClass, NonPatientObjectStorageServiceClass, ServiceClass)
_COMMANDS_ONLY: Final = frozenset((IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE))


_LONGEST_UID: Final = 64

_MANAGING: Final = (
    "1.2.840.10008.1.9",
    "1.2.840.10008.1.20",
    "1.2.840.10008.3.1.2",
    "1.2.840.10008.5.1.1",
    "1.2.840.10008.5.1.4.32",
    "1.2.840.10008.5.1.4.34.2",
    "1.2.840.10008.5.1.4.34.3",
    "1.2.840.10008.5.1.4.34.4",
    "1.2.840.10008.10",
)
"""Services, mostly retired, that pynetdicom does not know: study and print management, storage
commitment, worklists and procedure steps of old, real-time video (PS3.6 Annex A)."""

_HARDCOPY: Final = frozenset(f"1.2.840.10008.5.1.1.{last}" for last in (27, 29, 30))
"""Stored Print and Hardcopy Image Storage, retired: among print management, but storage."""


@lru_cache(maxsize=4096)
def is_storage(abstract_syntax: UID) -> bool:
    """Whether a SOP class may be stored: all but those of services known to be others."""
    if uid_to_service_class(abstract_syntax) not in _STORING:
        return False
    return abstract_syntax in _HARDCOPY or not any(
        abstract_syntax == service or abstract_syntax.startswith(service + ".")
        for service in _MANAGING
    )


def answer(
    request: AssociateRequest, *, max_pdu_length: int, storable: Collection[UID] = STORABLE
) -> AssociateAccept:
    """The acceptance of a request, context by context.

    Asynchronous operations are answered with a window of one; role selection lets the requestor be
    SCU and not SCP; user identity and extended negotiation need no answer and get none.
    """
    roles = {role.sop_class: role for role in request.user.roles}
    contexts = tuple(_answer(context, roles, storable) for context in request.contexts)
    user = UserInformation(
        max_length=max_pdu_length,
        implementation_class=IMPLEMENTATION_CLASS_UID,
        implementation_version=IMPLEMENTATION_VERSION,
        window=AsynchronousWindow(1, 1) if request.user.window is not None else None,
        roles=tuple(RoleSelection(role.sop_class, role.scu, scp=False) for role in roles.values()),
    )
    return AssociateAccept(request.called, request.calling, contexts, user, APPLICATION_CONTEXT, 1)


def _answer(
    context: ProposedContext, roles: dict[UID, RoleSelection], storable: Collection[UID]
) -> AnsweredContext:
    result = ContextResult.ACCEPTED
    first = context.transfer_syntaxes[0] if context.transfer_syntaxes else IMPLICIT_LE
    role = roles.get(context.abstract_syntax)
    if context.abstract_syntax == VERIFICATION:
        readable: Collection[UID] = _COMMANDS_ONLY
    elif 0 < len(context.abstract_syntax) <= _LONGEST_UID and is_storage(context.abstract_syntax):
        readable = storable
    else:
        return AnsweredContext(
            context.context_id, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, first
        )
    chosen = next((uid for uid in context.transfer_syntaxes if uid in readable), None)
    if chosen is None:
        result = ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    elif role is not None and not role.scu:
        result = ContextResult.USER_REJECTION
    return AnsweredContext(context.context_id, result, chosen or first)
