"""The explanation shows each predicate with the value met, and agrees with the decision."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import load_text
from gateway.model import Arrival, Origin
from gateway.route.explain import ExplainedRoute, Predicate, explain
from gateway.route.rules import compile_rules

RULES = compile_rules(
    load_text(
        "version: 1\nnodes:\n"
        "  pacs: { dimse: { ae_title: PACS1, host: h } }\n"
        "  ct: { dimse: { ae_title: CT1, host: h } }\n"
        "routes:\n"
        "  - name: heads\n"
        "    from: [ct, 'called_ae:ARCHIVE', 'address:10.1.0.0/16']\n"
        "    match: { BodyPartExamined: [HEAD, BRAIN], TransferSyntaxUID: j2k }\n"
        "    unless: { ImageType: LOCALIZER, Modality: CT }\n"
        "    send_to: [pacs]\n"
        "  - { name: all, send_to: pacs }\n"
    )
)
CT = Origin(Arrival.C_STORE, "CT1", "GATEWAY", "192.0.2.1")
J2K = "1.2.840.10008.1.2.4.91"


def _heads(**header: str) -> ExplainedRoute:
    return explain(RULES, header, CT).routes[0]


def test_every_sender_is_shown_with_what_came() -> None:
    assert _heads().senders == (
        Predicate("calling_ae", ("CT1",), "CT1", True, "ct (AE title CT1)"),
        Predicate("called_ae", ("ARCHIVE",), "GATEWAY", False, "called_ae:ARCHIVE"),
        Predicate("address", ("10.1.0.0/16",), "192.0.2.1", False, "address:10.1.0.0/16"),
    )


def test_a_node_without_an_ae_title_is_not_taken_for_one_that_calls_itself_so() -> None:
    rules = compile_rules(
        load_text(
            "version: 1\nnodes: { cloud: { dicomweb: { url: https://c.example } } }\n"
            "routes: [ { name: r, from: cloud, send_to: cloud } ]\n"
        )
    )
    called = explain(rules, {}, Origin(Arrival.C_STORE, "cloud")).routes[0]
    assert called.objections() == "from cloud: it was not fetched from there"
    fetched = explain(rules, {}, Origin(Arrival.WADO_RS, "cloud")).routes[0]
    assert (fetched.takes, fetched.objections()) == (True, "")


def test_every_attribute_is_shown_with_its_value_and_uids_by_name() -> None:
    route = _heads(BodyPartExamined="KNEE ", TransferSyntaxUID=J2K)
    wanted = "BodyPartExamined: HEAD or BRAIN"
    assert route.match == (
        Predicate("BodyPartExamined", ("HEAD", "BRAIN"), "KNEE", False, wanted),
        Predicate("TransferSyntaxUID", ("j2k",), "j2k", True, "TransferSyntaxUID: j2k"),
    )
    assert not route.takes


def test_an_attribute_that_is_missing_has_no_value() -> None:
    assert [predicate.met for predicate in _heads(ImageType="A\\LOCALIZER").unless] == [
        "A\\LOCALIZER",
        None,
    ]
    assert [predicate.holds for predicate in _heads(ImageType="A\\LOCALIZER").unless] == [
        True,
        False,
    ]


def test_a_route_that_takes_the_instance_says_where_to() -> None:
    route = _heads(BodyPartExamined="HEAD", TransferSyntaxUID=J2K)
    assert route.takes
    assert route.send_to == ("pacs",)


@given(
    st.dictionaries(
        st.sampled_from(["BodyPartExamined", "ImageType", "Modality", "TransferSyntaxUID"]),
        st.sampled_from(["HEAD", "LOCALIZER", "A\\LOCALIZER", "CT", J2K, "", " HEAD\0"]),
    ),
    st.sampled_from(["CT1", "X", ""]),
    st.sampled_from(["ARCHIVE", ""]),
    st.sampled_from(["10.1.2.3", "10.2.2.3", "nowhere"]),
)
@settings(deadline=None, max_examples=300)
def test_predicates_decision_and_explanation_agree(
    header: dict[str, str], calling: str, called: str, address: str
) -> None:
    origin = Origin(Arrival.C_STORE, calling, called, address)
    explanation = explain(RULES, header, origin)
    assert explanation.decision == RULES.route(header, origin)
    for route in explanation.routes:
        from_one = not route.senders or any(each.holds for each in route.senders)
        all_met = all(each.holds for each in route.match)
        kept_out = bool(route.unless) and all(each.holds for each in route.unless)
        assert route.takes == (from_one and all_met and not kept_out)
        assert route.takes == (not route.objections())
    takers = [route.name for route in explanation.routes if route.takes]
    assert [owed.route for owed in explanation.decision.owed] == takers[:1]
