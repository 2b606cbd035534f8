"""What the interop tests share: small real objects, by transfer syntax, with UIDs of their own."""

from pathlib import Path

import pytest

from tests.bench import objects


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """A folder of 8 kB uncompressed CT images, distinct in their SOP Instance UIDs."""
    folder = tmp_path_factory.mktemp("images")
    objects.copies(objects.small_template(), folder, 20)
    return folder


@pytest.fixture(scope="session")
def some(images):
    """``some(n)``: the first n of these images."""
    return lambda count: sorted(images.iterdir())[:count]
