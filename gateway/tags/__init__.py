"""What a route changes in the attributes of the instances that it sends (PS3.4 B.4.1, coercion).

Changes are values: what they lead to in one data set is worked out by ``edits`` without I/O and
written by ``dataset.splice``, so all that nobody asked to change keeps its bytes. Every change
reads the data set as it came; none sees what another made, so their order never matters.
"""

from gateway.model import Private, Step
from gateway.tags.changes import (
    Change,
    Copy,
    Hash,
    Remove,
    Replace,
    Secret,
    Set,
    ShiftDate,
    TagChanges,
    TagPath,
    Template,
    parse_template,
)

__all__ = [
    "Change",
    "Copy",
    "Hash",
    "Private",
    "Remove",
    "Replace",
    "Secret",
    "Set",
    "ShiftDate",
    "Step",
    "TagChanges",
    "TagPath",
    "Template",
    "parse_template",
]
