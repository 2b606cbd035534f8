"""What a right file means: YAML 1.2 without guesses, defaults, units, variables."""

from datetime import timedelta
from pathlib import Path

import pytest

from gateway.config import (
    Config,
    ConfigError,
    Listen,
    Node,
    Retry,
    default_config,
    load,
    load_text,
)

PACS = "nodes: { pacs: { dimse: { ae_title: PACS1, host: pacs.example } } }\n"


def _node(dimse: str = "", can_read: str = "{}") -> Node:
    text = (
        "version: 1\nnodes:\n  n:\n"
        f"    dimse: {{ ae_title: N, host: n.example{dimse} }}\n    can_read: {can_read}\n"
    )
    return load_text(text).nodes["n"]


def _route(*lines: str) -> Config:
    body = "\n".join(f"    {line}" for line in lines)
    return load_text(f"version: 1\n{PACS}routes:\n  - name: r\n    send_to: pacs\n{body}\n")


def _values(config: Config) -> dict[str, tuple[str, ...]]:
    """The plain values of the first route's match."""
    assert all(each.plain for each in config.routes[0].match.values())
    return {key: each.has for key, each in config.routes[0].match.items()}


def test_the_default_listens_on_11112_as_gateway_and_keeps_the_web_to_this_machine() -> None:
    gateway = default_config().gateway
    assert gateway.ae_title == "GATEWAY"
    assert gateway.dicom.listen == Listen("0.0.0.0", 11112)  # noqa: S104
    assert gateway.web.listen == Listen("127.0.0.1", 8080)
    assert gateway.spool.path == Path("gateway-data")
    assert not default_config().nodes
    assert not default_config().routes


def test_the_smallest_file_is_the_default() -> None:
    assert load_text("version: 1\n") == default_config()


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfversion: 1\r\ngateway:\r\n  ae_title: GW\r\n")
    assert load(path).gateway.ae_title == "GW"


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("0012", "0012"),
        ("104", "104"),
        ("1e3", "1e3"),
        ("1.20", "1.20"),
        ("no", "no"),
        ("off", "off"),
        ("true", "true"),
        ("12:30", "12:30"),
        ("0x1F", "0x1F"),
        ("2026-11-22", "2026-11-22"),
        ("'  PADDED '", "PADDED"),
        ("'~'", "~"),
    ],
)
def test_an_ae_title_is_read_as_it_is_written(written: str, title: str) -> None:
    config = load_text(f"version: 1\ngateway:\n  ae_title: {written}\n")
    assert config.gateway.ae_title == title


def test_a_uid_that_looks_like_a_number_keeps_its_digits() -> None:
    config = _route("match: { StudyInstanceUID: [1.20, 1.2.840.10] }")
    assert _values(config) == {"StudyInstanceUID": ("1.20", "1.2.840.10")}


@pytest.mark.parametrize("style", [">", ">-", "|", "|-"])
def test_a_text_may_stand_in_a_block(style: str) -> None:
    assert _route(f"expr: {style}", "  Rows > 5.0").routes[0].expr == "Rows > 5.0"


@pytest.mark.parametrize("style", [">", ">-"])
def test_a_folded_block_is_one_line(style: str) -> None:
    folded = _route(f"expr: {style}", "  Rows > 5.0 &&", "  Columns > 5.0")
    assert folded.routes[0].expr == "Rows > 5.0 && Columns > 5.0"


def test_limits_have_the_published_defaults() -> None:
    dicom = default_config().gateway.dicom
    assert (dicom.max_pdu, dicom.max_associations, dicom.max_associations_per_peer) == (
        131072,
        100,
        20,
    )
    assert (dicom.artim_timeout, dicom.idle_timeout, dicom.message_timeout) == (30, 300, 60)
    assert dicom.accept_from is None
    assert not dicom.check_called_ae
    spool = default_config().gateway.spool
    assert (spool.refuse_below_free, spool.keep) == (5 << 30, timedelta(days=7))


def test_units_become_seconds_and_bytes() -> None:
    config = load_text(
        "version: 1\ngateway:\n"
        "  dicom: { idle_timeout: 2m, max_instance: 16GB }\n"
        "  spool: { refuse_below_free: 20 GiB, keep: 36h }\n"
    )
    assert config.gateway.dicom.idle_timeout == 120
    assert config.gateway.dicom.max_instance == 16 * 10**9
    assert config.gateway.spool.refuse_below_free == 20 << 30
    assert config.gateway.spool.keep == timedelta(hours=36)


def test_words_stand_for_no_limit() -> None:
    config = load_text(
        "version: 1\ngateway:\n  dicom: { accept_from: anyone }\n  spool: { keep: forever }\n"
        "  transcode: { workers: auto }\n"
    )
    assert config == load_text("version: 1\ngateway: { spool: { keep: forever } }\n")
    assert config.gateway.spool.keep is None
    assert _route("delivery: { give_up_after: never }").routes[0].delivery.give_up_after is None


def test_a_list_of_callers_may_hold_an_ae_title_called_anyone() -> None:
    config = load_text("version: 1\ngateway: { dicom: { accept_from: [anyone, CT1] } }\n")
    assert config.gateway.dicom.accept_from == ("anyone", "CT1")


def test_a_node_needs_ae_title_and_host_and_has_the_standards_port() -> None:
    dimse = _node().dimse
    assert (dimse.port, dimse.max_associations, dimse.calling_ae) == (104, 1, None)
    assert _node(", port: 11113, calling_ae: GW2").dimse.calling_ae == "GW2"


def test_what_a_node_can_read_is_given_by_name_or_uid() -> None:
    can_read = _node(
        can_read="{ syntaxes: [implicit-le, 1.2.840.10008.1.2.1, implicit-le, 1.3.6.1.4.1.1],"
        " color: RGB, planar: separate, max_instance: 512MiB }"
    ).can_read
    assert can_read.syntaxes == ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.3.6.1.4.1.1")
    assert (can_read.color, can_read.planar) == ("RGB", "separate")
    assert can_read.max_instance == 512 << 20


@pytest.mark.parametrize("written", ["{}", "{ syntaxes: as-received }", "{ color: as-received }"])
def test_a_node_reads_everything_unless_it_says_otherwise(written: str) -> None:
    can_read = _node(can_read=written).can_read
    assert can_read.syntaxes is None
    assert (can_read.color, can_read.planar, can_read.max_instance) == ("", "", None)


def test_a_route_has_careful_defaults() -> None:
    route = _route().routes[0]
    assert (route.from_, route.match, route.unless) == ((), {}, {})
    assert route.send_to == ("pacs",)
    assert (route.pixels.change, route.pixels.if_undecodable) == ("if-needed", "quarantine")
    assert route.delivery.retry == Retry(30, 900)
    assert route.delivery.give_up_after is None


def test_a_node_may_read_some_sop_classes_and_so_many_bits() -> None:
    reads = _node(can_read="{ bits: 12, sop_classes: [CTImageStorage] }").can_read
    assert (reads.bits, reads.sop_classes) == (12, ("1.2.840.10008.5.1.4.1.1.2",))
    assert _node(can_read="{ bits: any, sop_classes: all }") == _node()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("as-received", None),
        ("ISO_IR 100", ("ISO_IR 100",)),
        (
            "[ISO 2022 IR 6, ISO 2022 IR 87, GB18030]",
            ("ISO 2022 IR 6", "ISO 2022 IR 87", "GB18030"),
        ),
    ],
)
def test_character_sets_are_the_terms_of_the_standard(
    written: str, read: tuple[str, ...] | None
) -> None:
    assert _node(can_read=f"{{ charset: {written} }}").can_read.charset == read


def test_senders_are_nodes_or_patterns() -> None:
    config = _route("from: [pacs, calling_ae:CT1, called_ae:ARCHIVE, 'address:10.1.0.0/16']")
    assert [str(sender) for sender in config.routes[0].from_] == [
        "pacs",
        "calling_ae:CT1",
        "called_ae:ARCHIVE",
        "address:10.1.0.0/16",
    ]


def test_names_of_syntaxes_and_sop_classes_become_uids_in_match() -> None:
    config = _route(
        "match: { TransferSyntaxUID: j2k, SOPClassUID: [CTImageStorage, 1.2.3] }",
        "unless: { '(0008,0060)': SR }",
    )
    assert _values(config) == {
        "TransferSyntaxUID": ("1.2.840.10008.1.2.4.91",),
        "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.2", "1.2.3"),
    }


def test_a_tag_is_read_as_its_keyword() -> None:
    config = _route("match: { '0008,0060': CT, '0028,0010': 512.0, '6000,0010': 3 }")
    assert _values(config) == {"Modality": ("CT",), "Rows": ("512",), "6000,0010": ("3",)}


def test_a_variable_is_replaced_and_its_escape_is_not() -> None:
    text = "version: 1\ngateway: { ae_title: '${TITLE}_$${X}' }\n"
    assert load_text(text, environment={"TITLE": "GW"}).gateway.ae_title == "GW_${X}"


def test_variables_come_from_the_process_where_nothing_else_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TITLE", "FROM_ENV")
    config = load_text("version: 1\ngateway: { ae_title: '${GATEWAY_TEST_TITLE}' }\n")
    assert config.gateway.ae_title == "FROM_ENV"


def test_a_variable_in_a_wrong_place_is_judged_like_any_text() -> None:
    with pytest.raises(ConfigError, match=r"found '\$\{P\}', whose value is not shown"):
        load_text(
            "version: 1\nnodes: { n: { dimse: { ae_title: N, host: h, port: '${P}' } } }\n",
            environment={"P": "dicom"},
        )


def test_an_anchor_may_be_used_again() -> None:
    config = load_text(
        f"version: 1\n{PACS}routes:\n"
        "  - { name: a, send_to: pacs, delivery: &slow { retry: 1m..1h } }\n"
        "  - { name: b, send_to: pacs, delivery: *slow }\n"
    )
    assert config.routes[0].delivery == config.routes[1].delivery
    assert config.routes[1].delivery.retry == Retry(60, 3600)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        default_config().gateway.ae_title = "X"


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("'[::]:104'", Listen("::", 104)),
        ("localhost:0", Listen("localhost", 0)),
        ("10.1.2.3:11112", Listen("10.1.2.3", 11112)),
    ],
)
def test_a_place_to_listen_reads_as_it_prints(written: str, place: Listen) -> None:
    config = load_text(f"version: 1\ngateway: {{ dicom: {{ listen: {written} }} }}\n")
    assert config.gateway.dicom.listen == place
    assert str(place) == written.strip("'")
