"""What a node says that it can read is held against what comes."""

from gateway.config.models import CanRead
from gateway.route.reading import objection

CT, US = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.6.1"


def test_a_node_that_says_nothing_reads_everything() -> None:
    assert objection(CanRead(), CT, {"BitsStored": "16"}) == ""


def test_sop_classes_that_are_not_listed_are_objected_to() -> None:
    can_read = CanRead.model_validate({"sop_classes": ["CTImageStorage"]})
    assert objection(can_read, CT, {}) == ""
    assert objection(can_read, US, {}) == (
        "the node reads no UltrasoundImageStorage (can_read.sop_classes)"
    )


def test_more_bits_than_a_node_reads_are_objected_to() -> None:
    can_read = CanRead.model_validate({"bits": "12"})
    assert objection(can_read, CT, {"BitsStored": "12"}) == ""
    assert objection(can_read, CT, {}) == ""
    assert objection(can_read, CT, {"BitsStored": "16"}) == (
        "it has 16 bits stored, the node reads 12 (can_read.bits)"
    )
