"""Photos within a budget of memory, and what is said about them."""

import re
import tracemalloc

import numpy as np
import pytest

from deblurgan.errors import UserError
from deblurgan.restoration.photo_files import Photo, before_and_after, pixels_of
from deblurgan.restoration.restorer import Restorer
from deblurgan.restoration.tiles import IMAGE_BYTES, Method


def method(reach=16, **changes):
    return Method(lambda image: np.clip(image + 0.5, -1, 1), reach=reach, bytes=1000, **changes)


def photo(height, width, level=0.0):
    colours = np.full((height, width, 3), level, np.float32)
    return Photo(colours, False, False, None, {})


def test_strength_goes_part_of_the_way():
    before = photo(30, 40, -0.25)
    after = Restorer(method(), strength=0.5).restored(before)
    np.testing.assert_allclose(after.colours, 0, atol=1e-6)
    np.testing.assert_array_equal(before.colours, -0.25)


@pytest.mark.parametrize("tile", ["auto", "off", 500])
def test_what_does_not_fit_into_the_memory_is_refused_by_its_size_alone(tile):
    restorer = Restorer(method(), tile=tile, memory=1)
    restorer.check((400, 600))
    with pytest.raises(UserError, match=r"20000x30000|30000x20000"):
        restorer.check((20000, 30000))


def test_a_whole_photo_has_to_fit_where_tiles_are_off():
    Restorer(method(), memory=0.5).check((1000, 1000))
    with pytest.raises(UserError, match=r"^1000x1000 pixels whole need 1\.\d GB of memory or more, not 0\.5"):
        Restorer(method(), tile="off", memory=0.5).check((1000, 1000))


@pytest.mark.parametrize("tile", [1, 63, 64, 65, 95])
def test_tiles_that_are_all_margin_are_refused(tile):
    with pytest.raises(UserError, match=rf"^tiles of {tile} pixels are too small: 96 or more are needed$"):
        Restorer(method(), tile=tile).check((200, 300))


def test_tiles_that_overlap_widely_are_said_once(capsys):
    restorer = Restorer(method(), tile=96, memory=1)  # margins of 32: a ninth of each tile counts
    for _ in range(2):
        restorer.restored(photo(200, 300))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert line.startswith("deblur: warning: tiles of 96 pixels with margins of 32 make ")
    enough = int(re.search(r" times the photo's work; with --tile (\d+) it is 3 times at most$", line)[1])
    Restorer(method(), tile=enough, memory=1).restored(photo(200, 300))
    Restorer(method(), memory=1).restored(photo(200, 300))
    assert "warning" not in capsys.readouterr().err


def test_advice_on_tiles_that_overlap_widely_helps():
    """Followed, the warning is gone; where nothing helps, there is no advice."""
    shape = (1500, 2000, 3)
    warned = Restorer(method(), memory=0.197).warning(shape)
    enough = float(re.search(r"with --memory ([\d.]+) it is 3 times at most$", warned)[1])
    assert Restorer(method(), memory=enough).warning(shape) is None
    both = Restorer(method(), tile=96, memory=0.2).warning(shape)
    assert re.search(r"with --tile \d+ --memory [\d.]+ it is", both)
    assert Restorer(method(largest_tile=112), memory=9).warning(shape).endswith(" times the photo's work")


def test_no_photo_has_more_copies_than_the_budget_says():
    """With a comparison, too; the few rows that are worked on at a time are as nothing beside a large photo."""
    height, width = 1024, 2048
    restorer = Restorer(Method(lambda image: image, reach=8, bytes=50), tile=128, memory=10, strength=0.5)
    tracemalloc.start()
    before = photo(height, width)
    pixels = pixels_of(before_and_after(before, restorer.restored(before)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.shape == (height, 2 * width, 3)
    assert peak < 40 * height * width
    assert peak < IMAGE_BYTES * height * width
