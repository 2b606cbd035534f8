"""Every real file decoded twice: no two code bases disagree, and the digest is right."""

from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from gateway.failures import PermanentFailure
from gateway.model import Checks
from gateway.transcode.instance import transcode
from gateway.transcode.verify import Disagreement
from tests.real_files import FOLDER, catalogue, needs_real_files, references
from tests.transcode.objects import EXPLICIT_LE

pytestmark = [pytest.mark.data, needs_real_files]

OWN_PIXELS: Final = ("dicom-test-files__RG3_JPLY.dcm", "pydicom-data__JLSL_16_15_1_1F.dcm")
"""Files whose digest is ours; see test_real_files."""

_states: Counter[str] = Counter()


@pytest.mark.parametrize("name", sorted(row["file"] for row in catalogue()))
def test_no_two_decoders_disagree_about_a_real_file(name: str, tmp_path: Path) -> None:
    checks = Checks(verify="all", digests=True)
    try:
        done = transcode(FOLDER / name, EXPLICIT_LE, tmp_path / "out.dcm", checks=checks)
    except Disagreement as failure:
        pytest.fail(str(failure))
    except PermanentFailure:
        return
    _states[done.verification.state if done.verification else "no codestream"] += 1
    wanted = references().get(name, {}).get("consensus", "")
    if done.decoder and len(wanted) == 64 and name not in OWN_PIXELS:
        assert done.native_digest == wanted


def test_many_were_really_compared() -> None:
    assert _states["equal"] + _states["within bound"] > 70, _states
