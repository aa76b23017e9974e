"""Memory that is used again belongs to no one else, and starts with a line of the cache."""

import numpy as np

from mfpde.flows.arrays import BYTES, Recycled


def test_arrays_are_lent_again_once_nobody_holds_them():
    room = Recycled((3, 2))
    first, second = room.empty(), room.empty()
    view = first[1:]
    assert not np.shares_memory(first, second)
    assert all(array.ctypes.data % BYTES == 0 for array in (first, second))
    del first
    third = room.empty()
    assert not np.shares_memory(third, view)
    assert not np.shares_memory(third, second)
    place = view.ctypes.data - 2 * view.itemsize
    del view
    assert room.empty().ctypes.data == place
