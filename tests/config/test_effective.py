"""The effective configuration is readable YAML that holds every default."""

from gateway.config import default_config, effective, load_text


def test_the_default_prints_with_every_limit_in_units() -> None:
    assert effective(default_config()) == (
        "version: 1\n"
        "gateway:\n"
        "  ae_title: GATEWAY\n"
        "  time_zone: local\n"
        "  dicom:\n"
        "    listen: 0.0.0.0:11112\n"
        "    check_called_ae: false\n"
        "    accept_from: anyone\n"
        "    max_pdu: 131072\n"
        "    max_associations: 100\n"
        "    max_associations_per_peer: 20\n"
        "    max_instance: 8GiB\n"
        "    artim_timeout: 30s\n"
        "    idle_timeout: 5m\n"
        "    message_timeout: 1m\n"
        "  web:\n"
        "    listen: 127.0.0.1:8080\n"
        "    cors:\n"
        "      origins: []\n"
        "    max_body: 8GiB\n"
        "    max_header: 16384\n"
        "    max_connections: 256\n"
        "    max_expansion: 100\n"
        "    idle_timeout: 75s\n"
        "    header_timeout: 10s\n"
        "  spool:\n"
        "    path: gateway-data\n"
        "    refuse_below_free: 5GiB\n"
        "    keep: 7d\n"
        "  transcode:\n"
        "    workers: auto\n"
        "    timeout: 2m\n"
        "    memory: 4GiB\n"
        "  drain_timeout: 30s\n"
        "  reload: on-request\n"
        "nodes: {}\n"
        "routes: []\n"
        "serve:\n"
        "  enabled: true\n"
        "  upstream: []\n"
        "  allow_delete: false\n"
        "fetch: []\n"
        "query_retrieve: []\n"
        "examples: []\n"
    )


def test_a_route_prints_names_and_numbers_as_an_administrator_writes_them() -> None:
    config = load_text(
        "version: 1\nnodes: { n: { dimse: { ae_title: 104, host: h } } }\nroutes:\n"
        "  - name: r\n    from: [n, 'address:10.1.2.30/32']\n    send_to: n\n"
        "    match: { TransferSyntaxUID: 1.2.840.10008.1.2.4.70, Rows: 0512.0 }\n"
        "    unless: { SOPClassUID: 1.2.840.10008.5.1.4.1.1.2 }\n"
    )
    assert effective(config).partition("routes:\n")[2].partition("serve:\n")[0] == (
        "  - name: r\n"
        "    from: [n, address:10.1.2.30]\n"
        "    match:\n"
        "      TransferSyntaxUID: [jpeg-lossless-sv1]\n"
        "      Rows: [512]\n"
        "    unless:\n"
        "      SOPClassUID: [CTImageStorage]\n"
        "    enabled: true\n"
        "    send_to: [n]\n"
        "    pixels:\n"
        "      change: if-needed\n"
        "      if_undecodable: quarantine\n"
        "      verify: off\n"
        "    delivery:\n"
        "      retry: 30s..15m\n"
        "      give_up_after: never\n"
        "      priority: normal\n"
        "      order: as-received\n"
        "      objects_per_s: unlimited\n"
        "      mbit_per_s: unlimited\n"
    )
    assert "    ae_title: 104\n" in effective(config)


def test_what_is_verified_prints_as_it_reads() -> None:
    for written, printed in {
        "off": "off",
        "lossless": "lossless",
        "5%": "5%",
        "'0.50 %'": "0.5%",
        "100%": "100%",
    }.items():
        config = load_text(
            "version: 1\nnodes: { n: { dimse: { ae_title: N, host: h } } }\nroutes:\n"
            f"  - {{ name: r, send_to: n, pixels: {{ verify: {written} }} }}\n"
        )
        assert f"      verify: {printed}\n" in effective(config)
        assert load_text(effective(config)) == config


def test_what_is_left_out_stays_out_and_words_of_other_yamls_are_in_quotes() -> None:
    text = (
        "version: 1\nnodes: { n: { dimse: { ae_title: N, host: h } } }\nroutes:\n"
        "  - { name: r, send_to: n, match: { BurnedInAnnotation: 'NO' },"
        " during: sat-mon 08:00-12:00, delivery: { during: [mon-fri, 'sat,sun 08:00-09:00'] },"
        " tags: { remove: StationName } }\n"
        "examples:\n"
        "  - { given: { BurnedInAnnotation: 'NO' }, expect: { r: n } }\n"
    )
    printed = effective(load_text(text))
    assert load_text(printed) == load_text(text)
    for line in ("      BurnedInAnnotation: ['NO']", "    during: ['mon,sat,sun 08:00-12:00']",
                 "      during: [mon-fri, 'sat,sun 08:00-09:00']", "      r: [n]"):  # fmt: skip
        assert f"{line}\n" in printed
    assert not [word for word in ("copy", "template", "replace", "unless") if word in printed]
