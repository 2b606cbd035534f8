"""A mapping of the configuration file as a frozen model: known keys only."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """What all sections have in common.

    The names in ``LATER`` belong to the language but not yet to this version; they are refused.
    Those ``BESIDE`` are keys that are read before the models see the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    LATER: ClassVar[frozenset[str]] = frozenset()
    BESIDE: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def keys(cls) -> dict[str, str]:
        """The keys of this version, each with the name of its field."""
        return {field.alias or name: name for name, field in cls.model_fields.items()}
