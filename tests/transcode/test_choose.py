"""Which transfer syntax an instance goes out in."""

import pytest

from gateway.failures import PermanentFailure
from gateway.transcode.choose import choose_target
from gateway.transfer_syntax import (
    BY_NAME,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    J2K_LOSSLESS,
    JPEG_BASELINE,
)

ALL = (J2K_LOSSLESS, IMPLICIT_LE, EXPLICIT_BE, EXPLICIT_LE)
VIDEO = BY_NAME["mpeg4-high"].uid


@pytest.mark.parametrize(
    ("source", "accepted", "change", "can_read", "target"),
    [
        (J2K_LOSSLESS, ALL, "if-needed", None, J2K_LOSSLESS),
        (J2K_LOSSLESS, ALL, "if-needed", (IMPLICIT_LE,), IMPLICIT_LE),
        (J2K_LOSSLESS, (IMPLICIT_LE, EXPLICIT_LE), "if-needed", None, EXPLICIT_LE),
        (J2K_LOSSLESS, (EXPLICIT_BE, IMPLICIT_LE), "if-needed", None, IMPLICIT_LE),
        (J2K_LOSSLESS, (EXPLICIT_BE,), "if-needed", None, EXPLICIT_BE),
        (J2K_LOSSLESS, ALL, "never", None, J2K_LOSSLESS),
        (J2K_LOSSLESS, ALL, "always", None, EXPLICIT_LE),
        (J2K_LOSSLESS, ALL, "always", (J2K_LOSSLESS, EXPLICIT_BE), EXPLICIT_BE),
        (IMPLICIT_LE, ALL, "always", None, IMPLICIT_LE),
        (IMPLICIT_LE, (EXPLICIT_BE, EXPLICIT_LE), "if-needed", None, EXPLICIT_LE),
        (EXPLICIT_BE, (IMPLICIT_LE,), "if-needed", None, IMPLICIT_LE),
        (BY_NAME["deflated"].uid, (IMPLICIT_LE,), "if-needed", None, IMPLICIT_LE),
        (VIDEO, (VIDEO, EXPLICIT_LE), "always", None, VIDEO),
        ("1.2.3.4", ("1.2.3.4", IMPLICIT_LE), "if-needed", None, "1.2.3.4"),
    ],
)
def test_the_target_is_the_best_that_was_accepted_and_can_be_read(
    source: str,
    accepted: tuple[str, ...],
    change: str,
    can_read: tuple[str, ...] | None,
    target: str,
) -> None:
    assert choose_target(source, accepted, change=change, can_read=can_read) == target


@pytest.mark.parametrize(
    ("source", "accepted", "change", "can_read", "said"),
    [
        (J2K_LOSSLESS, (IMPLICIT_LE,), "never", None, "pixels.change: never"),
        (J2K_LOSSLESS, (JPEG_BASELINE,), "if-needed", None, "node accepted jpeg-baseline"),
        (J2K_LOSSLESS, (J2K_LOSSLESS,), "always", None, "stored as j2k-lossless"),
        (J2K_LOSSLESS, (), "if-needed", None, "accepted nothing"),
        (J2K_LOSSLESS, (EXPLICIT_LE,), "if-needed", (IMPLICIT_LE,), "can read implicit-le"),
        (VIDEO, (EXPLICIT_LE,), "if-needed", None, "video is never decoded"),
        ("1.2.3.4", (EXPLICIT_LE,), "always", None, "unknown here"),
        (IMPLICIT_LE, (JPEG_BASELINE,), "if-needed", None, "none of them can be produced"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_what_was_stored_accepted_and_readable(
    source: str,
    accepted: tuple[str, ...],
    change: str,
    can_read: tuple[str, ...] | None,
    said: str,
) -> None:
    with pytest.raises(PermanentFailure, match=said):
        choose_target(source, accepted, change=change, can_read=can_read)


def test_an_unknown_policy_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="sometimes"):
        choose_target(IMPLICIT_LE, (IMPLICIT_LE,), change="sometimes")
