"""Words in the other byte order, piece by piece."""

import numpy as np
import pytest

from gateway.dataset.mapped import LET_GO
from gateway.transcode.words import Swapped


@pytest.mark.parametrize("width", [2, 4, 8])
def test_the_pieces_of_a_long_value_are_the_whole_of_it_swapped(width: int) -> None:
    words = np.arange((LET_GO + (1 << 20)) // width, dtype=f"<u{width}")
    stored = words.tobytes() + b"x"
    swapped = b"".join(Swapped(memoryview(stored), width).pieces())
    assert swapped == words.byteswap().tobytes() + b"x"
