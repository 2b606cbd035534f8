"""Where studies, series and instances are found: UIDs in paths, and URLs that are handed out."""

from typing import Final
from urllib.parse import quote

from aiohttp import web

from gateway.model import UID, Instance, is_uid
from gateway.serve.problems import BadRequest

MOUNTED_AT: Final = "/dicom-web"
STUDY: Final = "/studies/{study}"
SERIES: Final = STUDY + "/series/{series}"
INSTANCE: Final = SERIES + "/instances/{instance}"


def uids_of(request: web.Request) -> tuple[UID, UID, UID]:
    """(study, series, instance) of the path, "" for those it does not name.

    Raises BadRequest for what is no UID (PS3.5 9.1).
    """
    study, series, instance = (
        checked(name, request.match_info.get(name, "")) for name in ("study", "series", "instance")
    )
    return study, series, instance


def checked(what: str, uid: str) -> UID:
    """``uid`` itself, where it is a UID or empty. Raises BadRequest."""
    if uid and not is_uid(uid):
        raise BadRequest(
            f"the {what} UID {uid[:80]!r} is not a UID: digits and points, at most 64"
        )
    return uid


def location(root_url: str, instance: Instance, *more: str) -> str:
    """The URL of an instance, or of what is below it; relative to the server without a root."""
    path = (
        f"{MOUNTED_AT}/studies/{instance.study_uid}/series/{instance.series_uid}"
        f"/instances/{instance.sop_instance_uid}"
    )
    return root_url.rstrip("/") + quote("/".join((path, *more)), safe="/,")
