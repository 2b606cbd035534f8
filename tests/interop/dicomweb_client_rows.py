"""What each method of dicomweb-client's web client is asked, and what has to come of it.

A row of the table is a function that asks as often as it likes; by its end it has named every
parameter of its method at least once.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import Dataset
from requests import Response
from requests.exceptions import HTTPError
from retrying import RetryError

from tests.interop.client_studies import (
    DOCUMENT,
    FRAMES,
    ROOT,
    SLICES,
    STUDIES,
    image,
    named,
    picture,
    real,
    uids,
)
from tests.real_files import references
from tests.serve.objects import EXPLICIT_LE, JPEG_LS
from tests.transcode.objects import J2K_LOSSLESS, digest

AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'

Row = dict[str, Any]


class Ask:
    """Asks by one method of a client; knows by which names of its arguments it was asked."""

    def __init__(self, client: DICOMwebClient, method: str, folder: Path) -> None:
        self.client, self.method, self.folder = client, method, folder
        self.names: set[str] = set()

    def __call__(self, **arguments: Any) -> Any:
        """What the method gives; what it yields as a list."""
        self.names |= arguments.keys()
        found = getattr(self.client, self.method)(**arguments)
        return list(found) if isinstance(found, Iterator) else found

    def fails(self, status: int, **arguments: Any) -> None:
        """The service refuses by this status."""
        with pytest.raises(HTTPError, match=str(status)):
            self(**arguments)

    def url(self, bulk: str) -> str:
        """A BulkDataURI of ours is relative: the client sends Host without the port."""
        assert bulk.startswith("/dicom-web/")
        return self.client.base_url.removesuffix("/dicom-web") + bulk

    def store(self, study: int, count: int = 1) -> list[Dataset]:
        """A study of its own."""
        slices = [image(self.folder, study, number) for number in range(1, count + 1)]
        self.client.store_instances(slices)
        return slices


TABLE: dict[str, Callable[[Ask], None]] = {}


def row(*methods: str) -> Callable[[Callable[[Ask], None]], Callable[[Ask], None]]:
    def entered(asks: Callable[[Ask], None]) -> Callable[[Ask], None]:
        TABLE.update(dict.fromkeys(methods, asks))
        return asks

    return entered


def parameters(method: str) -> set[str]:
    return set(inspect.signature(getattr(DICOMwebClient, method)).parameters) - {"self"}


FORMS: Sequence[tuple[Any, str]] = (
    (("application/dicom",), EXPLICIT_LE),
    ((("application/dicom", EXPLICIT_LE),), EXPLICIT_LE),
    ((("application/dicom", "*"),), JPEG_LS),
    ((("application/dicom", JPEG_LS),), JPEG_LS),
)
"""Media types of objects, and the transfer syntax in which they have to come."""


def check_slices(
    found: Sequence[Dataset], syntax: str, study: int, numbers: Sequence[int]
) -> None:
    assert [one.InstanceNumber for one in found] == list(numbers)
    assert {one.file_meta.TransferSyntaxUID for one in found} == {syntax}
    if syntax == EXPLICIT_LE:
        expected = [picture(study, number).tobytes() for number in numbers]
        assert [one.PixelData for one in found] == expected


@row("retrieve_study", "iter_study", "retrieve_series", "iter_series")
def objects_of_a_study_or_series(ask: Ask) -> None:
    for study in STUDIES:
        what = _level(ask, study)
        check_slices(ask(**what), EXPLICIT_LE, study, range(1, SLICES + 1))
        for media_types, syntax in FORMS:
            check_slices(ask(**what, media_types=media_types), syntax, study, range(1, 5))
    found = ask(**_level(ask, 1), additional_params={"accept": AS_STORED})
    check_slices(found, JPEG_LS, 1, range(1, SLICES + 1))
    for study, name, _ in real():
        (one,) = ask(**_level(ask, study))
        assert one.file_meta.TransferSyntaxUID == EXPLICIT_LE
        assert name == DOCUMENT or digest(one) == references()[name]["consensus"], name
    ask.fails(404, **_level(ask, 99))


def _level(ask: Ask, study: int) -> dict[str, str]:
    return {key: value for key, value in named(study).items() if key in parameters(ask.method)}


@row("retrieve_instance")
def an_instance(ask: Ask) -> None:
    check_slices([ask(**named(2, 3))], JPEG_LS, 2, [3])  # it asks for transfer-syntax=*
    for media_types, syntax in FORMS:
        check_slices([ask(**named(2, 3), media_types=media_types)], syntax, 2, [3])
    whole = {"accept": 'multipart/related; type="application/dicom"'}
    check_slices([ask(**named(2, 3), additional_params=whole)], EXPLICIT_LE, 2, [3])
    for study, name, ds in real():
        stored = ask(**named(study, 1))
        assert stored.file_meta.TransferSyntaxUID == ds.file_meta.TransferSyntaxUID
        assert stored.get("PixelData") == ds.get("PixelData"), name
    ask.fails(406, **named(1, 1), media_types=(("application/dicom", J2K_LOSSLESS),))
    ask.fails(404, **named(1, 99))


@row("retrieve_study_metadata", "retrieve_series_metadata")
def metadata_of_a_study_or_series(ask: Ask) -> None:
    found = ask(**_level(ask, 1))
    assert values(found, "00200013") == [1, 2, 3, 4]
    assert ask(**_level(ask, 1), additional_params={"accept": "application/dicom+json"}) == found
    ask.fails(406, **_level(ask, 1), additional_params={"accept": "text/html"})
    ask.fails(404, **_level(ask, 99))


@row("retrieve_instance_metadata")
def metadata_of_an_instance(ask: Ask) -> None:
    found = ask(**named(1, 2))
    assert Dataset.from_json(found, lambda _: b"").PatientName == "Client^Test1"
    assert (found["00280010"]["Value"], found["00280008"]["Value"]) == ([6], [FRAMES])
    same = {"accept": "application/dicom+json"}
    assert ask(**named(1, 2), additional_params=same) == found
    ask.fails(404, **named(1, 99))


def values(rows: Sequence[Row], tag: str) -> list[Any]:
    return [value for one in rows for value in one[tag]["Value"]]


OCTETS = "application/octet-stream"
FRAME_FORMS: Sequence[tuple[Any, bool]] = (
    (None, False),  # type="*/*"
    (("*/*",), False),
    ((OCTETS,), False),
    (((OCTETS, EXPLICIT_LE),), False),
    (((OCTETS, EXPLICIT_LE), ("image/jls", JPEG_LS)), False),
    (((OCTETS, "*"),), True),
    (("image/jls",), True),
    ((("image/jls", JPEG_LS),), True),
    (("image/*",), True),
    (("image/jp2", "image/jls"), True),
)
"""Media types of frames, and whether the stored codestream has to come."""


@row("retrieve_instance_frames", "iter_instance_frames")
def frames(ask: Ask) -> None:
    expected = [picture(1, 2)[number - 1].tobytes() for number in (3, 1)]
    for media_types, stored in FRAME_FORMS:
        found = ask(**named(1, 2), frame_numbers=[3, 1], media_types=media_types)
        if stored:
            found = [imagecodecs.jpegls_decode(bytes(one)).tobytes() for one in found]
        assert found == expected, media_types
    params = {"accept": "multipart/related; type=image/jls"}
    (one,) = ask(**named(1, 2), frame_numbers=[2], additional_params=params)
    assert imagecodecs.jpegls_decode(bytes(one)).tobytes() == picture(1, 2)[1].tobytes()
    for study, name, ds in real():
        if name != DOCUMENT:
            numbers = range(1, int(ds.get("NumberOfFrames", 1)) + 1)
            joined = b"".join(ask(**named(study, 1), frame_numbers=numbers))
            assert hashlib.sha256(joined).hexdigest() == references()[name]["consensus"], name
    ask.fails(406, **named(1, 2), frame_numbers=[1], media_types=("image/jp2",))
    ask.fails(406, **named(1, 2), frame_numbers=[1], media_types=("video/mp4",))
    ask.fails(404, **named(1, 2), frame_numbers=[FRAMES + 1])
    ask.fails(404, **named(1, 99), frame_numbers=[1])


@row("retrieve_bulkdata", "iter_bulkdata")
def bulk_data(ask: Ask) -> None:
    metadata = ask.client.retrieve_instance_metadata(*uids(1, 2))
    url, expected = ask.url(metadata["7FE00010"]["BulkDataURI"]), picture(1, 2).tobytes()
    for media_types in (None, (OCTETS,), ((OCTETS, EXPLICIT_LE),), (OCTETS, "image/jls")):
        assert ask(url=url, media_types=media_types) == [expected], media_types
    assert ask(url=url, byte_range=(0, 9)) == [expected[:10]]
    assert ask(url=url, media_types=(OCTETS,), byte_range=(5,)) == [expected[5:]]
    params = {"accept": f"multipart/related; type={OCTETS}"}
    assert ask(url=url, additional_params=params) == [expected]
    ask.fails(406, url=url, media_types=("image/jp2",))
    ask.fails(406, url=url, media_types=("video/mp4",))
    ask.fails(416, url=url, byte_range=(1 << 20, 1 << 21))
    ask.fails(404, url=url.removesuffix("7FE00010") + "00420011")


PICTURES: Sequence[tuple[Any, str]] = (
    (None, "JPEG"),
    (("image/jpeg",), "JPEG"),
    (("image/png",), "PNG"),
    (("image/gif",), "GIF"),
    (("image/*",), "JPEG"),
    (("image/png", "image/jpeg"), "JPEG"),  # several of one kind: the client asks for */*
    (("image/png", OCTETS), "JPEG"),
)


@row("retrieve_instance_rendered", "retrieve_instance_frames_rendered")
def rendered(ask: Ask) -> None:
    whole = ask.method == "retrieve_instance_rendered"
    what = named(1, 2) | ({} if whole else {"frame_numbers": [2]})
    for media_types, kind in PICTURES:
        made = Image.open(BytesIO(ask(**what, media_types=media_types)))
        assert (made.format, made.size) == (kind, (10, 6)), media_types
    png = {**what, "media_types": ("image/png",)}
    plain = ask(**png)
    assert Image.open(BytesIO(ask(**png, params={"viewport": "5,5"}))).size == (5, 3)
    assert ask(**png, params={"window": "100,50,linear"}) != plain
    best, worst = (len(ask(**what, params={"quality": quality})) for quality in (100, 1))
    assert worst < best
    ask.fails(400, **what, params={"quality": 101})
    ask.fails(400, **what, params={"window": "narrow"})
    ask.fails(406, **what, media_types=("video/mp4",))
    for study, name, ds in real():
        one = named(study, 1) | ({} if whole else {"frame_numbers": [1]})
        if name != DOCUMENT:
            made = Image.open(BytesIO(ask(**one)))
            assert (made.height, made.width) == (ds.Rows, ds.Columns), name
        elif whole:
            assert ask(**one, media_types=("application/pdf",)).startswith(b"%PDF")
            ask.fails(406, **one, media_types=("text/plain",))


@row("retrieve_series_rendered")
def rendered_series(ask: Ask) -> None:
    """A multipart, which this client hands out as it is."""
    for media_types, start in (
        (None, b"\xff\xd8\xff"),
        (("image/jpeg",), b"\xff\xd8\xff"),
        (("image/png",), b"\x89PNG"),
        (("image/gif",), b"GIF8"),
    ):
        body = ask(**named(1), media_types=media_types)
        assert body.count(b"\r\n\r\n" + start) == SLICES, media_types
    assert len(ask(**named(1), params={"viewport": "5,5"})) < len(ask(**named(1)))
    ask.fails(404, **named(99))


@row("search_for_studies")
def studies(ask: Ask) -> None:
    mine = {"PatientID": "CLIENT-?"}
    everything = ask(search_filters=mine)
    assert sorted(values(everything, "0020000D")) == [f"{ROOT}.{n}" for n in STUDIES]
    assert values(everything, "00201208") == [SLICES] * len(STUDIES)
    check_paging(ask, {"search_filters": mine}, everything, "0020000D")
    for filters in (
        {"PatientID": "CLIENT-2"},
        {"PatientName": "*test2"},
        {"00080020": "20260102"},
        {"StudyDate": "20260102-20260102", "ModalitiesInStudy": "OT"},
        {"StudyInstanceUID": f"{ROOT}.2"},
    ):
        for fuzzy in (True, False):
            found = ask(search_filters=filters, fuzzymatching=fuzzy)
            assert values(found, "0020000D") == [f"{ROOT}.2"], filters
    for fields in (["PatientComments"], ["00081080", "StudyDescription"]):
        assert len(ask(search_filters=mine, fields=fields)) == len(STUDIES)
    assert ask(search_filters={"PatientID": "NOBODY"}) == []


def check_paging(ask: Ask, what: Row, everything: list[Row], tag: str) -> None:
    """By limit and offset, in as many requests as it takes, and by parameters beside."""
    expected = values(everything, tag)
    assert values(ask(**what, limit=2, get_remaining=True), tag) == expected
    assert values(ask(**what, limit=2, offset=1), tag) == expected[1:3]
    assert values(ask(**what, additional_params={"limit": 1}), tag) == expected[:1]


@row("search_for_series")
def series(ask: Ask) -> None:
    mine = {"PatientName": "Client^Test?"}
    everything = ask(search_filters=mine)
    assert sorted(values(everything, "0020000E")) == [uids(n)[1] for n in STUDIES]
    check_paging(ask, {"search_filters": mine}, everything, "0020000E")
    within = {"study_instance_uid": f"{ROOT}.1", "search_filters": {"Modality": "OT"}}
    (one,) = ask(**within, fields=["SeriesNumber", "00080060"], fuzzymatching=True)
    assert (values([one], "0020000E"), values([one], "00201209")) == ([uids(1)[1]], [SLICES])
    assert ask(study_instance_uid=f"{ROOT}.1", search_filters={"Modality": "CT"}) == []


@row("search_for_instances")
def instances(ask: Ask) -> None:
    mine = {"PatientID": "CLIENT-?"}
    everything = ask(search_filters=mine)
    assert len(everything) == SLICES * len(STUDIES)
    check_paging(ask, {"search_filters": mine}, everything, "00080018")
    found = ask(**named(1), fields=["Rows", "BitsStored"], fuzzymatching=False)
    assert values(found, "00200013") == [1, 2, 3, 4]
    assert values(found, "00280101") == [16] * SLICES
    one = ask(study_instance_uid=f"{ROOT}.1", search_filters={"InstanceNumber": "3"})
    assert values(one, "00080018") == [uids(1, 3)[2]]


@row("store_instances")
def store(ask: Ask) -> None:
    three = [image(ask.folder, 11, number) for number in (1, 2, 3)]
    answer = ask(datasets=three, study_instance_uid=f"{ROOT}.11", additional_params={"_": "1"})
    stored = [one.ReferencedSOPInstanceUID for one in answer.ReferencedSOPSequence]
    assert stored == [uids(11, number)[2] for number in (1, 2, 3)]
    check_slices(ask.client.retrieve_study(f"{ROOT}.11"), EXPLICIT_LE, 11, [1, 2, 3])
    ask.fails(409, datasets=three, study_instance_uid=f"{ROOT}.12")


@row("set_chunk_size")
def chunk_size(ask: Ask) -> None:
    """Whatever is longer is sent and read in chunks of so many bytes."""
    for number, size in enumerate((100, 1000, 1 << 20)):
        ask(chunk_size=size)
        ask.store(20 + number, 2)
        found = list(ask.client.iter_study(f"{ROOT}.{20 + number}"))
        check_slices(found, EXPLICIT_LE, 20 + number, [1, 2])


@row("set_http_retry_params")
def retries(ask: Ask) -> None:
    answers: list[int] = []

    def count(response: Response, *_: object, **__: object) -> None:
        answers.append(response.status_code)

    ask.client._session.hooks = {"response": [count]}
    ask(
        retry=True,
        max_attempts=3,
        wait_exponential_multiplier=1,
        retriable_error_codes=(HTTPStatus.NOT_FOUND,),
    )
    with pytest.raises(RetryError):
        ask.client.retrieve_instance(*uids(1, 99))
    assert answers == [404] * 3
    ask(retry=False)
    with pytest.raises(HTTPError, match="404"):
        ask.client.retrieve_instance(*uids(1, 99))
    assert answers == [404] * 4


@row("delete_study", "delete_series", "delete_instance")
def deletion(ask: Ask) -> None:
    study = 30 + ["delete_study", "delete_series", "delete_instance"].index(ask.method)
    ask.store(study, 2)
    names = {k: v for k, v in named(study, 1).items() if k in parameters(ask.method)}
    assert ask(**names, additional_params={"reason": "test"}) is None
    left = 1 if ask.method == "delete_instance" else 0
    assert len(ask.client.search_for_instances(f"{ROOT}.{study}")) == left
    ask.fails(404, **names)


@row("lookup_keyword")
def keyword_of_a_tag(ask: Ask) -> None:
    assert ask(tag="00080060") == ask(tag=0x00080060) == "Modality"
    filters = {ask(tag="00100020"): "CLIENT-2"}
    found = ask.client.search_for_studies(search_filters=filters)
    assert values(found, "0020000D") == [f"{ROOT}.2"]


@row("lookup_tag")
def tag_of_a_keyword(ask: Ask) -> None:
    filters = {ask(keyword="PatientID"): "CLIENT-2"}
    found = ask.client.search_for_studies(search_filters=filters)
    assert values(found, ask(keyword="StudyInstanceUID")) == [f"{ROOT}.2"]
