"""The index of what is held by study, series and instance, for queries (PS3.18 §10.6)."""

from gateway.index.answer import Asked
from gateway.index.index import Index
from gateway.index.results import Answer, TooBroad
from gateway.index.schema import INDEX

__all__ = ["INDEX", "Answer", "Asked", "Index", "TooBroad"]
