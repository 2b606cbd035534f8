"""Peers that send: DCMTK, pynetdicom, CTN, odil, PixelMed. Each returns when it has ended."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers.receivers import REPOSITORY, absent

CALLED = "GATEWAY"

_JARS = ("pixelmed", "slf4j-api", "slf4j-nop", "commons-compress", "commons-codec")


@dataclass(frozen=True)
class Sent:
    """How a sender ended: its exit status and everything it wrote."""

    status: int
    output: str

    @property
    def ok(self) -> bool:
        """The sender says that all went well."""
        return self.status == 0


@dataclass(frozen=True)
class Answer:
    """The answer to one C-STORE: DIMSE status, or negative where there was none."""

    file: Path
    uid: str
    status: int


def environment() -> dict[str, str]:
    """What senders find in their environment: no delayed packets, and this checkout."""
    return {**os.environ, "TCP_NODELAY": "1", "PYTHONPATH": str(REPOSITORY)}


def run(command: Sequence[str | Path], seconds: float = 120.0) -> Sent:
    """Run a sender to its end."""
    ended = subprocess.run(
        [str(part) for part in command],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
    )
    return Sent(ended.returncode, ended.stdout.decode(errors="replace"))


def echoscu(port: int, *options: str) -> Sent:
    """C-ECHO by DCMTK."""
    return run(["echoscu", *options, "-aec", CALLED, "127.0.0.1", str(port)])


def storescu_command(port: int, files: Iterable[Path], *options: str) -> list[str | Path]:
    """The command that sends files by DCMTK storescu."""
    return ["storescu", *options, "-aec", CALLED, "127.0.0.1", str(port), *files]


def storescu(port: int, files: Iterable[Path], *options: str) -> Sent:
    """C-STORE by DCMTK storescu; options such as -xs, -xv, -R, -nh, +sd."""
    return run(storescu_command(port, files, *options))


def dcmsend(port: int, files: Iterable[Path], *options: str) -> Sent:
    """C-STORE by DCMTK dcmsend, every file in the transfer syntax it has (-dn)."""
    return run(["dcmsend", "-dn", *options, "-aec", CALLED, "127.0.0.1", str(port), *files])


def pynetdicom_echo(port: int) -> Sent:
    """C-ECHO by pynetdicom."""
    return run([sys.executable, "-m", "tests.peers.storescu_app", str(port)])


def pynetdicom_command(port: int, files: Iterable[Path], patience: int = 30) -> list[str | Path]:
    """The command that sends files by pynetdicom and prints one JSON line per answer.

    It waits ``patience`` seconds for each answer.
    """
    command = [sys.executable, "-m", "tests.peers.storescu_app", "--patience", str(patience)]
    return [*command, str(port), *files]


def pynetdicom_store(port: int, files: Iterable[Path]) -> list[Answer]:
    """C-STORE by pynetdicom, every data set's bytes as they are in the file."""
    return answers(run(pynetdicom_command(port, files)).output)


def answers(output: str) -> list[Answer]:
    """The answers in what the pynetdicom sender printed (to the point where it was cut off)."""
    found = []
    for line in output.splitlines():
        if line.startswith("{") and line.endswith("}"):
            row = json.loads(line)
            found.append(Answer(Path(row["file"]), row["uid"], row["status"]))
    return found


def ctn_echo(port: int) -> Sent:
    """C-ECHO by CTN (1990s C)."""
    return run(["dicom_echo", "-a", "CTN", "-c", CALLED, "127.0.0.1", str(port)])


def ctn_store(port: int, files: Iterable[Path], *options: str) -> Sent:
    """C-STORE by CTN send_image."""
    where = ("-a", "CTN", "-c", CALLED, "127.0.0.1", str(port))
    return run(["send_image", "-r", *options, *where, *files])


def odil_echo(port: int) -> Sent:
    """C-ECHO by odil."""
    return run(["odil", "echo", "127.0.0.1", str(port), "ODIL", CALLED])


def odil_store(port: int, files: Iterable[Path]) -> Sent:
    """C-STORE by odil."""
    return run(["odil", "store", "127.0.0.1", str(port), "ODIL", CALLED, *files])


def pixelmed_missing() -> str:
    """Why PixelMed cannot run here."""
    if reason := absent("java"):
        return reason
    return "" if Path("/usr/share/java/pixelmed.jar").is_file() else "not installed: pixelmed"


def _pixelmed(main_class: str, *arguments: str | Path) -> Sent:
    jars = ":".join(f"/usr/share/java/{name}.jar" for name in _JARS)
    java = ("java", "-Djava.awt.headless=true", "-cp", jars)
    return run([*java, f"com.pixelmed.network.{main_class}", *arguments])


def pixelmed_echo(port: int) -> Sent:
    """C-ECHO by PixelMed (Java)."""
    where = ("127.0.0.1", str(port), CALLED, "PIXELMED", "NONSECURE")
    return _pixelmed("VerificationSOPClassSCU", *where)


def pixelmed_store(port: int, file: Path) -> Sent:
    """C-STORE of one file by PixelMed (Java)."""
    return _pixelmed("StorageSOPClassSCU", "127.0.0.1", str(port), CALLED, "PIXELMED", file, "0")
