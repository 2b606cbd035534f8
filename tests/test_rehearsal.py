"""Remarks on a configuration that only those who know the decoders can make."""

from gateway.config import load_text
from gateway.rehearsal import remarks

HEAD = "version: 1\nnodes: { a: { dimse: { ae_title: A, host: h } } }\nroutes:\n"


def _said(pixels: str) -> list[str]:
    text = f"{HEAD}  - {{ name: r, send_to: a, pixels: {{ {pixels} }} }}\n"
    return [f"{each.line}: {each.text}" for each in remarks(load_text(text))]


def test_codings_that_nobody_can_verify_are_named_in_one_line() -> None:
    start = "4: route r: pixels.verify: {}, and one code base alone decodes these here,"
    (share,) = _said("verify: 5%")
    assert share.startswith(start.format("5%"))
    assert "JPEG DCT, 8 bit" in share
    (lossless,) = _said("verify: lossless")
    assert lossless.startswith(start.format("lossless"))
    assert "JPEG-LS; JPEG 2000;" in lossless
    assert "DCT" not in lossless
    assert _said("verify: off") == []


def test_verification_of_what_is_never_decoded_has_no_effect() -> None:
    assert _said("verify: 100%, change: never") == [
        "4: route r: pixels.verify has no effect: with change: never nothing is decoded"
    ]
