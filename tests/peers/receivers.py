"""Peers that receive: DCMTK storescp, pynetdicom, Orthanc."""

import json
import os
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from tests.peers.process import Child, fetch, free_port, until

REPOSITORY = Path(__file__).resolve().parents[2]

_PLUGINS = Path("/usr/share/orthanc/plugins")
DICOMWEB = _PLUGINS / "libOrthancDicomWeb.so"
"""The plugin of Debian's package orthanc-dicomweb."""

_FORWARD_EACH = """
function OnStoredInstance(instanceId, tags, metadata, origin)
  SendToModality(instanceId, 'sink')
end
"""


def absent(*programs: str) -> str:
    """Why tests that need these programs cannot run here; "" when all are installed."""
    gone = [program for program in programs if shutil.which(program) is None]
    return f"not installed: {', '.join(gone)}" if gone else ""


class Peer(ABC):
    """A receiver on a loopback port, with a folder of its own."""

    name: ClassVar[str] = ""
    programs: ClassVar[tuple[str, ...]] = ()
    ae_title: str = "PEER"

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.child: Child | None = None

    @classmethod
    def missing(cls) -> str:
        """Why this peer cannot run here; "" when it can."""
        return absent(*cls.programs)

    @property
    def log(self) -> Path:
        """What the peer has written to its terminal."""
        return self.folder / "log.txt"

    def start(self) -> Self:
        """Start and return once the port accepts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self.child = Child(self.command(), self.log, cwd=self.folder, env=self.environment())
        self.child.wait_until_accepting(self.port)
        return self

    def stop(self) -> None:
        """End the peer; starting it again keeps port and folder."""
        if self.child is not None:
            self.child.stop()
            self.child = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End the peer for sure and at once: nobody asks it anything any more."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    @abstractmethod
    def prepare(self) -> None:
        """Write what the peer wants to find in its folder."""

    def environment(self) -> Mapping[str, str]:
        """Environment variables on top of ours."""
        return {}

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The command that starts the peer in the foreground."""

    @abstractmethod
    def arrived(self) -> int:
        """How many instances the peer has stored."""

    def wait_for(self, count: int, seconds: float = 60.0) -> float:
        """Seconds until at least ``count`` instances have arrived."""
        what = f"{count} instances at {self.name}"
        return until(lambda: self.arrived() >= count, what, seconds)


class _Folder(Peer):
    """A receiver that stores one file per instance in ``stored``."""

    @property
    def stored(self) -> Path:
        """The folder of received files."""
        return self.folder / "stored"

    def prepare(self) -> None:
        self.stored.mkdir(exist_ok=True)

    def files(self) -> list[Path]:
        """The stored files, by name."""
        return sorted(self.stored.iterdir())

    def names(self) -> set[str]:
        """The names of the stored files; for pynetdicom they are the SOP Instance UIDs."""
        return {file.name for file in self.stored.iterdir()}

    def arrived(self) -> int:
        with os.scandir(self.stored) as entries:
            return sum(1 for _ in entries)


class Storescp(_Folder):
    """DCMTK storescp; ``options`` choose what it accepts (+xi, +xe, +xa, --fork, +uf, ...)."""

    name = "DCMTK storescp"
    programs = ("storescp",)
    ae_title = "STORESCP"

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self.options = options

    def command(self) -> Sequence[str | Path]:
        where = ("-aet", self.ae_title, "-od", self.stored)
        return ("storescp", "-dhl", *self.options, *where, str(self.port))


class PynetdicomReceiver(_Folder):
    """pynetdicom as C-STORE SCP in a child process; ``options`` go to ``storescp_app``."""

    name = "pynetdicom"
    ae_title = "PYNETDICOM"

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self.options = options

    def command(self) -> Sequence[str | Path]:
        where = ("--port", str(self.port), "--out", self.stored)
        return (sys.executable, "-m", "tests.peers.storescp_app", *where, *self.options)

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(REPOSITORY)}


class Orthanc(Peer):
    """Debian's Orthanc; with ``forward_to`` (a port) each instance is sent on by Lua.

    Its DICOMweb plugin, where installed, serves /dicom-web and knows ``servers`` (name: URL).

    It embeds DCMTK, so ``no_delay`` decides whether it sends its packets at once (TCP_NODELAY=1)
    or as installed. ``gdcm`` decides whether it decodes with its GDCM plugin, where installed, or
    with that DCMTK.
    """

    name = "Orthanc"
    programs = ("Orthanc",)
    ae_title = "ORTHANC"

    def __init__(
        self,
        folder: Path,
        *,
        forward_to: int = 0,
        no_delay: bool = True,
        gdcm: bool = True,
        port: int | None = None,
        servers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder, port=port)
        self.no_delay = no_delay
        self.gdcm = gdcm
        self.servers = servers or {}
        self.web_port = free_port()
        self.forward_to = forward_to

    def prepare(self) -> None:
        (self.folder / "orthanc.json").write_text(json.dumps(self._configuration(), indent=1))
        (self.folder / "forward.lua").write_text(_FORWARD_EACH)

    def _configuration(self) -> dict[str, object]:
        sink = {"AET": "SINK", "Host": "127.0.0.1", "Port": self.forward_to}
        plugins = [_PLUGINS / "libOrthancGdcm.so"] if self.gdcm else []
        return {
            "Name": "peer",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "HttpPort": self.web_port,
            "DicomPort": self.port,
            "DicomAet": self.ae_title,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowStore": True,
            "UnknownSopClassAccepted": True,
            "OverwriteInstances": True,
            "DicomModalities": {"sink": sink} if self.forward_to else {},
            "LuaScripts": [str(self.folder / "forward.lua")] if self.forward_to else [],
            "Plugins": [str(plugin) for plugin in (*plugins, DICOMWEB) if plugin.is_file()],
            "DicomWeb": {
                "Enable": True,
                "Root": "/dicom-web/",
                "EnableWado": True,
                "WadoRoot": "/wado",
                "Servers": {name: {"Url": url} for name, url in self.servers.items()},
            },
        }

    def command(self) -> Sequence[str | Path]:
        return ("Orthanc", self.folder / "orthanc.json")

    def environment(self) -> Mapping[str, str]:
        return {"TCP_NODELAY": "1" if self.no_delay else "0"}

    def start(self) -> Self:
        super().start()
        assert self.child is not None
        self.child.wait_until_accepting(self.web_port)
        return self

    def get(self, path: str) -> object:
        """The JSON answer of Orthanc's REST API."""
        return json.loads(fetch(self.web_port, path))

    def arrived(self) -> int:
        statistics = self.get("/statistics")
        assert isinstance(statistics, dict)
        return int(statistics["CountInstances"])

    def file_of(self, identifier: str) -> bytes:
        """The stored Part 10 file of an instance by Orthanc's identifier."""
        return fetch(self.web_port, f"/instances/{identifier}/file")
