"""pynetdicom as a C-STORE SCU: ``python -m tests.peers.storescu_app PORT FILES...``.

Each file travels in the transfer syntax it has, its data set's bytes untouched. One JSON line per
file is printed as soon as the answer is there: path, UID, status (-1: no answer, -2: no context).
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

NO_ANSWER = -1
NO_CONTEXT = -2
CONTEXTS = 128

_Kind = tuple[UID, UID]


def _kind(path: Path) -> _Kind:
    meta = read_file_meta_info(path)
    return meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID


def _batches(files: Iterable[Path]) -> Iterator[list[tuple[Path, _Kind]]]:
    """The files with their kinds, so many that their contexts fit one association."""
    batch: list[tuple[Path, _Kind]] = []
    kinds: set[_Kind] = set()
    for path in files:
        kind = _kind(path)
        if kind not in kinds and len(kinds) == CONTEXTS:
            yield batch
            batch, kinds = [], set()
        batch.append((path, kind))
        kinds.add(kind)
    if batch:
        yield batch


def _store(association: Association, path: Path) -> int:
    try:
        answer = association.send_c_store(path)
    except ValueError:
        return NO_CONTEXT
    except RuntimeError:
        return NO_ANSWER
    return int(answer.Status) if "Status" in answer else NO_ANSWER


def _send(entity: AE, port: int, called: str, batch: list[tuple[Path, _Kind]]) -> None:
    contexts = sorted({kind for _, kind in batch})
    entity.requested_contexts = []
    for sop_class, syntax in contexts:
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    for path, _ in batch:
        status = _store(association, path) if association.is_established else NO_ANSWER
        uid = str(read_file_meta_info(path).MediaStorageSOPInstanceUID)
        sys.stdout.write(json.dumps({"file": str(path), "uid": uid, "status": status}) + "\n")
        sys.stdout.flush()
    if association.is_established:
        association.release()


def _echo(entity: AE, port: int, called: str) -> int:
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    answer = association.send_c_echo() if association.is_established else {}
    association.release()
    return 0 if getattr(answer, "Status", None) == 0 else 1


def main() -> int:
    """0 when every file was answered with success (or the echo was)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--calling", default="PYNETDICOM")
    parser.add_argument("--called", default="GATEWAY")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds per answer")
    options = parser.parse_args()
    _config.STORE_SEND_CHUNKED_DATASET = True
    entity = AE(options.calling)
    entity.acse_timeout = entity.dimse_timeout = options.patience
    if not options.files:
        return _echo(entity, options.port, options.called)
    for batch in _batches(options.files):
        _send(entity, options.port, options.called, batch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
