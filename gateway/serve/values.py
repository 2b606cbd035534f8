"""Where the value of an attribute is read from, as bulk data: the stored file or a derived one.

In little endian it stands in the stored file as it goes out; in big endian or a deflated data set
the derived file has it, and so it is for pixels that are compressed.
"""

from pathlib import Path

from gateway.failures import PermanentFailure
from gateway.model import Instance, Rendition
from gateway.serve.problems import BadRequest, NotAcceptable, NotHere
from gateway.serve.serving import Serving
from gateway.serve.stored_values import IsSequence, NoValue, Value, value_in
from gateway.transfer_syntax import EXPLICIT_LE


async def value_of(serving: Serving, instance: Instance, path: str) -> Value:
    """The value at a path (``dataset.find``). Raises NotHere, BadRequest for a sequence.

    Raises NotAcceptable for pixels that cannot be uncompressed.
    """
    found = await _value_in(serving, instance.file, path)
    if found is not None:
        return found
    try:
        derived = await serving.derivations.derive(instance, EXPLICIT_LE, Rendition())
    except PermanentFailure as failure:
        raise NotAcceptable(
            f"the value cannot be given uncompressed: {failure}. The frames resource has the "
            "pixels as they are stored, with transfer-syntax=*"
        ) from failure
    found = await _value_in(serving, derived.file, path)
    if found is None:
        raise PermanentFailure(f"the derived file has no value at {path}")
    return found


async def _value_in(serving: Serving, file: Path, path: str) -> Value | None:
    try:
        return await serving.look(value_in, file, path)
    except NoValue as failure:
        raise NotHere(str(failure)) from failure
    except IsSequence as failure:
        raise BadRequest(str(failure)) from failure
