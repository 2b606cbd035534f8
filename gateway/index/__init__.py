"""The index of what is kept by study, series and instance, for queries (PS3.18 §10.6)."""

from gateway.index.attributes import Level
from gateway.index.index import Index
from gateway.index.search import Found, Row

__all__ = ["Found", "Index", "Level", "Row"]
