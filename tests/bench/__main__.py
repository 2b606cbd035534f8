"""``make bench``: the gateway against its peers on this machine, in one run, as ratios."""

import argparse
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.bench import decompress, dicomweb, forward, qido, receive, rules, sizes, syntaxes
from tests.bench.measure import Measurement, Summary, show, write

_PARTS = {
    "receive": receive.measure,
    "forward": forward.measure,
    "decompress": decompress.measure,
    "syntaxes": syntaxes.measure,
    "sizes": sizes.measure,
    "dicomweb": dicomweb.measure,
    "qido": qido.measure,
    "rules": rules.measure,
}


def main() -> int:
    """Measure, print one table after the other, keep them all under bench-results."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(_PARTS), help="one part instead of all")
    parser.add_argument("--quick", action="store_true", help="a quarter of the objects, one round")
    parser.add_argument("--rounds", type=int, help="rounds per system (default 3; 1 when quick)")
    parser.add_argument("--results", type=Path, default=Path("bench-results"))
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 3)
    options.results.mkdir(exist_ok=True)
    measurements: list[Measurement | Summary] = []
    with tempfile.TemporaryDirectory(dir=options.results, prefix="work-") as work:
        for name in [options.only] if options.only else list(_PARTS):
            part = Path(work).resolve() / name
            part.mkdir()
            _spread(part)
            for measurement in _PARTS[name](part, rounds=rounds, quick=options.quick):
                show(measurement)
                measurements.append(measurement)
    page = write(measurements, options.results)
    sys.stdout.write(f"kept in {page} and {page.with_suffix('.json')}\n")
    return 0


def _spread(folder: Path) -> None:
    """Have ext4 put each folder in here into a group of inodes of its own.

    Where it has no journal, it passes over every inode of a group that was deleted in the last
    five minutes, at up to half a millisecond for each new file: whoever makes files would be
    measured by what was deleted before.
    """
    with suppress(OSError):  # without e2fsprogs
        subprocess.run(["chattr", "+T", str(folder)], capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
