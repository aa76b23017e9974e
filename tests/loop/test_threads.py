"""One setting for the whole process, and several who want it."""

import pytest
from threadpoolctl import ThreadpoolController

from mfpde.loop import threads
from particle_ref import threads as of_particles


@pytest.mark.parametrize("module", [threads, of_particles])
def test_the_last_gives_back_what_the_first_found(module):
    """In whatever order they end: as two threads of a process do."""
    blas = ThreadpoolController().select(user_api="blas")

    def numbers():
        return {library["num_threads"] for library in blas.info()}

    with blas.limit(limits=2):
        before = numbers()
        first, second = module.one_thread(), module.one_thread()
        first.__enter__()
        second.__enter__()
        assert numbers() == {1}
        first.__exit__(None, None, None)
        assert numbers() == {1}
        second.__exit__(None, None, None)
        assert numbers() == before
