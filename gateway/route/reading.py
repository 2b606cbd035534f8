"""What a node says that it can read, held against what an instance is."""

from collections.abc import Mapping
from typing import Final

from gateway.config.dicom_names import uid_name
from gateway.config.models import CanRead
from gateway.model import UID

BITS_STORED: Final = "BitsStored"


def objection(can_read: CanRead, sop_class: UID, header: Mapping[str, str]) -> str:
    """Why a node cannot read an instance, whatever its transfer syntax; "" where it can.

    ``header`` holds Bits Stored; without it there are no pixels to object to.
    """
    classes = can_read.sop_classes
    if classes is not None and sop_class not in classes:
        return f"the node reads no {uid_name('SOPClassUID', sop_class)} (can_read.sop_classes)"
    bits = header.get(BITS_STORED, "")
    if can_read.bits is not None and bits.isdigit() and int(bits) > can_read.bits:
        return f"it has {bits} bits stored, the node reads {can_read.bits} (can_read.bits)"
    return ""
