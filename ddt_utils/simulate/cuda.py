"""Walkers on a GPU: every thread follows one walker after the other, with the bits of the CPU."""

from __future__ import annotations

import time

import numpy as np

from ddt_utils.simulate.program import CHUNK

_THREADS = 128  # in a block
_PER_PROCESSOR = 2048  # threads that a multiprocessor holds
_LAUNCH = 0.1  # seconds that a launch should last, so that Ctrl-C is heard


def is_available() -> bool:
    """Is there a GPU that numba can use?

    Returns:
        The answer; also true in numba's CUDA simulator.
    """
    try:
        from numba import cuda

        return bool(cuda.is_available())
    except Exception:  # a broken driver is no GPU either
        return False


def require() -> None:
    """Raise an error that says what is missing.

    Raises:
        RuntimeError: no GPU is available to numba.
    """
    if not is_available():
        raise RuntimeError(
            'device="cuda" needs an NVIDIA GPU and numba-cuda, and none is available; install '
            'numba-cuda[cu12] or [cu13] to match the driver, or take device="cpu", or unset '
            "DDT_DEVICE if that is where it was asked for: the results are the same, to the bit"
        )


class CUDA:
    """Carries a pool of walkers forward on a GPU, a launch at a time.

    Args:
        problem: the problem.
        pool: the walkers; see :class:`ddt_utils.simulate.pool.Pool`.
        seed: of the random streams.
        threads: of a CPU; of no use here.
    """

    block = 1 << 24  # walkers in memory at a time when their times are not kept

    def __init__(self, problem, pool, seed: int, threads: int | None = None):
        """Put the walkers on the device."""
        from numba import cuda

        require()
        program = problem.program("cuda")
        self._cuda, self._kernel, self._pool = cuda, program.module.advance, pool
        self._chunks = 64
        numbers = problem.start_state, np.array(program.parameters, np.float32)
        self._fixed = (
            np.uint64(seed),
            np.int64(pool.first),
            np.int64(problem.limit),
            *map(cuda.to_device, numbers),
        )
        self._arrays = pool.steps, pool.status, pool.state, pool.words
        self._device = [cuda.to_device(array) for array in self._arrays]
        self._order = np.flatnonzero(pool.status == 0)

    @property
    def slice_steps(self) -> int:
        """Steps of a walker between two looks at the keyboard."""
        return self._chunks * CHUNK

    def advance(self) -> int:
        """Launch the kernel once.

        Returns:
            How many walkers are being followed.
        """
        if not len(self._order):
            return 0
        began = time.perf_counter()
        order = self._cuda.to_device(self._order)
        queue = self._cuda.to_device(np.zeros(1, np.int64))
        launch = self._kernel[_grid(len(self._order))]
        launch(self._chunks, queue, order, *self._fixed, *self._device)
        self._device[1].copy_to_host(self._pool.status)  # waits for the kernel
        followed, self._order = len(self._order), np.flatnonzero(self._pool.status == 0)
        if time.perf_counter() - began < _LAUNCH:
            self._chunks = min(2 * self._chunks, 1 << 20)
        else:
            self._chunks = max(self._chunks // 2, 1)
        return followed

    def close(self) -> None:
        """Bring the walkers back: from then on the pool is at rest."""
        while True:
            try:
                for device, array in zip(self._device, self._arrays, strict=True):
                    device.copy_to_host(array)
                return
            except KeyboardInterrupt:
                pass  # pressed again: the pool must be at rest before it is shown


def _grid(walkers):
    """How many blocks of how many threads; a few threads in the simulator, which are Python's."""
    from numba import cuda
    from numba.core import config

    if config.ENABLE_CUDASIM:
        return 2, 4
    most = cuda.get_current_device().MULTIPROCESSOR_COUNT * _PER_PROCESSOR // _THREADS
    return min(-(-walkers // _THREADS), most), _THREADS
