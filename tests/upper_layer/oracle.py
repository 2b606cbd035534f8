"""pynetdicom's A-ASSOCIATE codec, spoken in our events."""

from typing import Any

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_items import (
    AsynchronousOperationsWindowSubItem,
    ImplementationClassUIDSubItem,
    ImplementationVersionNameSubItem,
    MaximumLengthSubItem,
    PresentationContextItemAC,
    SCP_SCU_RoleSelectionSubItem,
    SOPClassCommonExtendedNegotiationSubItem,
    SOPClassExtendedNegotiationSubItem,
    UserIdentitySubItemAC,
    UserIdentitySubItemRQ,
)
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import PresentationContext

from gateway.upper_layer.events import (
    AnsweredContext,
    AssociateAccept,
    AssociateRequest,
    AsynchronousWindow,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserIdentity,
    UserInformation,
)


def decoded(data: bytes) -> AssociateRequest | AssociateAccept:
    """What pynetdicom reads in an A-ASSOCIATE-RQ or -AC."""
    if data[0] == 1:
        request = A_ASSOCIATE_RQ()
        request.decode(data)
        return AssociateRequest(
            request.called_ae_title.strip(),
            request.calling_ae_title.strip(),
            tuple(
                ProposedContext(
                    context.context_id, context.abstract_syntax, tuple(context.transfer_syntax)
                )
                for context in request.presentation_context
            ),
            _user(request.user_information.user_data),
            request.application_context_name,
            request.protocol_version,
        )
    accept = A_ASSOCIATE_AC()
    accept.decode(data)
    return AssociateAccept(
        accept.reserved_aet.strip(),
        accept.reserved_aec.strip(),
        tuple(map(_answered, accept.presentation_context)),
        _user(accept.user_information.user_data),
        accept.application_context_name,
        accept.protocol_version,
    )


def _answered(context: PresentationContextItemAC) -> AnsweredContext:
    return AnsweredContext(context.context_id, context.result, context.transfer_syntax or "")


def _user(items: list[Any]) -> UserInformation:
    found: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {"roles": [], "extended": [], "common_extended": []}
    for item in items:
        name, value = _read(item)
        if name in lists:
            lists[name].append(value)
        else:
            found[name] = value
    return UserInformation(**found, **{name: tuple(values) for name, values in lists.items()})


def _read(item: Any) -> tuple[str, Any]:
    match item:
        case MaximumLengthSubItem():
            return "max_length", item.maximum_length_received
        case ImplementationClassUIDSubItem():
            return "implementation_class", item.implementation_class_uid
        case ImplementationVersionNameSubItem():
            return "implementation_version", item.implementation_version_name
        case AsynchronousOperationsWindowSubItem():
            invoked, performed = item.max_operations_invoked, item.max_operations_performed
            return "window", AsynchronousWindow(invoked, performed)
        case SCP_SCU_RoleSelectionSubItem():
            return "roles", RoleSelection(item.uid, bool(item.scu), bool(item.scp))
        case SOPClassExtendedNegotiationSubItem():
            return "extended", ExtendedNegotiation(item.uid, item.app_info)
        case SOPClassCommonExtendedNegotiationSubItem():
            related = tuple(item.related_general_sop_class_identification)
            uids = item.sop_class_uid, item.service_class_uid
            return "common_extended", CommonExtendedNegotiation(*uids, related)
        case UserIdentitySubItemRQ():
            secrets = item.primary or b"", item.secondary or b""
            return "identity", UserIdentity(item.id_type, bool(item.response_requested), *secrets)
        case UserIdentitySubItemAC():
            return "identity_response", item.response
    raise AssertionError(item)


def encoded(event: AssociateRequest | AssociateAccept) -> bytes:
    """What pynetdicom writes for an event."""
    primitive = A_ASSOCIATE()
    primitive.called_ae_title = event.called
    primitive.calling_ae_title = event.calling
    primitive.application_context_name = event.application_context
    primitive.user_information = list(_notifications(event.user))
    contexts = [_context(context) for context in event.contexts]
    if isinstance(event, AssociateRequest):
        primitive.presentation_context_definition_list = contexts
        pdu = A_ASSOCIATE_RQ()
    else:
        primitive.result, primitive.result_source = 0, 1
        primitive.presentation_context_definition_results_list = contexts
        pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def _context(context: ProposedContext | AnsweredContext) -> PresentationContext:
    theirs = PresentationContext()
    theirs.context_id = context.context_id
    if isinstance(context, ProposedContext):
        theirs.abstract_syntax = context.abstract_syntax
        theirs.transfer_syntax = list(context.transfer_syntaxes)
    else:
        theirs.result = context.result
        theirs.transfer_syntax = [context.transfer_syntax]
    return theirs


def _notifications(user: UserInformation) -> list[Any]:
    items: list[Any] = []

    def add(item: Any, **values: Any) -> None:
        for name, value in values.items():
            setattr(item, name, value)
        items.append(item)

    add(MaximumLengthNotification(), maximum_length_received=user.max_length)
    add(ImplementationClassUIDNotification(), implementation_class_uid=user.implementation_class)
    if user.window is not None:
        add(
            AsynchronousOperationsWindowNegotiation(),
            maximum_number_operations_invoked=user.window.invoked,
            maximum_number_operations_performed=user.window.performed,
        )
    for role in user.roles:
        add(
            SCP_SCU_RoleSelectionNegotiation(),
            sop_class_uid=role.sop_class,
            scu_role=role.scu,
            scp_role=role.scp,
        )
    if user.implementation_version:
        add(
            ImplementationVersionNameNotification(),
            implementation_version_name=user.implementation_version,
        )
    for extended in user.extended:
        add(
            SOPClassExtendedNegotiation(),
            sop_class_uid=extended.sop_class,
            service_class_application_information=extended.information,
        )
    for common in user.common_extended:
        add(
            SOPClassCommonExtendedNegotiation(),
            sop_class_uid=common.sop_class,
            service_class_uid=common.service_class,
            related_general_sop_class_identification=list(common.related),
        )
    if user.identity is not None:
        add(
            UserIdentityNegotiation(),
            user_identity_type=user.identity.kind,
            positive_response_requested=user.identity.response_requested,
            primary_field=user.identity.primary,
            secondary_field=user.identity.secondary,
        )
    if user.identity_response is not None:
        add(UserIdentityNegotiation(), server_response=user.identity_response)
    return items
