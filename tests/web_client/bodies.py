"""What stands in a multipart body that was sent to be stored."""

from gateway.dataset.part10 import read_file_meta
from gateway.dicomweb.media_types import parse_media_type
from gateway.dicomweb.multipart import PartBegins, PartData, Reader, boundary_of


def sops_of(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """(SOP Instance UID, file) of each part, in order."""
    reader = Reader(boundary_of(parse_media_type(content_type)))
    files: list[bytearray] = []
    for event in reader.feed(body):
        if isinstance(event, PartBegins):
            files.append(bytearray())
        elif isinstance(event, PartData):
            files[-1] += event.data
    reader.close()
    return [(read_file_meta(file).sop_instance_uid, bytes(file)) for file in files]
