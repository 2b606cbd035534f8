"""pynetdicom as a C-STORE SCP with scripted answers: ``python -m tests.peers.storescp_app``.

Accepts every storage SOP class, private ones too. Each answer can be a given status, late, or
never; associations can be rejected, contexts refused.
"""

import argparse
import threading
from collections.abc import Sequence
from pathlib import Path

from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt
from pynetdicom.sop_class import Verification

_SYNTAXES: dict[str, Sequence[UID]] = {
    "native": [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian],
    "implicit": [ImplicitVRLittleEndian],
    "all": ALL_TRANSFER_SYNTAXES,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--status", type=lambda text: int(text, 16), default=0, help="hex")
    parser.add_argument("--once", type=int, default=0, help="the status is for the first N only")
    parser.add_argument("--hang", action="store_true", help="never answer a C-STORE")
    parser.add_argument("--reject", action="store_true", help="reject every association")
    parser.add_argument("--refuse", action="store_true", help="accept no storage context")
    parser.add_argument("--syntaxes", choices=sorted(_SYNTAXES), default="all")
    return parser.parse_args()


class _Answers:
    """What is answered to the next C-STORE."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.asked = 0
        self.never = threading.Event()

    def __call__(self, event: evt.Event) -> int:
        self.asked += 1
        status = int(self.options.status)
        if self.options.once and self.asked > self.options.once:
            status = 0
        if self.options.hang:
            self.never.wait()
        if status == 0 or status >> 12 == 0xB:
            self._keep(event)
        return status

    def _keep(self, event: evt.Event) -> None:
        uid = str(event.request.AffectedSOPInstanceUID)
        part = self.options.out.parent / f"{uid}.part"
        part.write_bytes(event.encoded_dataset())
        part.rename(self.options.out / uid)


def main() -> None:
    """Serve until killed."""
    options = _arguments()
    _config.UNRESTRICTED_STORAGE_SERVICE = options.syntaxes == "all" and not options.refuse
    entity = AE("PYNETDICOM")
    entity.maximum_associations = 20
    entity.maximum_pdu_size = 131072
    entity.add_supported_context(Verification)
    if not options.refuse:
        syntaxes = list(_SYNTAXES[options.syntaxes])
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, syntaxes)
    if options.reject:
        entity.require_called_aet = True
        entity.ae_title = "NOBODY-SAYS-THIS"
    handlers = [(evt.EVT_C_STORE, _Answers(options))]
    entity.start_server(("127.0.0.1", options.port), block=True, evt_handlers=handlers)


if __name__ == "__main__":
    main()
