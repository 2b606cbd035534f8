"""A mapping of the configuration file as a frozen model: known keys only."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Section(BaseModel):
    """What all sections have in common.

    The names in ``LATER`` belong to the language but not yet to this version; they are refused,
    never passed over, even where their fields are there already. Those ``BESIDE`` are keys that
    are read before the models see the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    LATER: ClassVar[frozenset[str]] = frozenset()
    BESIDE: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def keys(cls) -> dict[str, str]:
        """The keys of this version, each with the name of its field."""
        named = ((field.alias or name, name) for name, field in cls.model_fields.items())
        return {key: name for key, name in named if key not in cls.LATER}

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> Any:
        written: dict[str, Any] = handler(self)
        return {key: value for key, value in written.items() if key not in self.LATER}
