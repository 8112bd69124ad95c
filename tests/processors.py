"""Other processors than the one at hand, as far as their libraries go.

OpenBLAS, NumPy, numba, PyTorch, MKL and oneDNN choose their kernels by the processor, and each can
be told to take an older one. Their results differ in the last bits, as they do between machines.
"""

import json
import os
import subprocess
import sys
from functools import cache

AVX2 = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",  # those of the name
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
SSE = {
    "OPENBLAS_CORETYPE": "Prescott",
    "NUMBA_CPU_NAME": "nehalem",
    "NUMBA_CPU_FEATURES": "",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}
# name: the settings, and the groups of instructions that NumPy must do without
PROCESSORS = {
    "without AVX-512": (AVX2, ("AVX512", "X86_V4")),
    "without AVX": (SSE, ("AVX512", "X86_V4", "X86_V3", "AVX2", "FMA3")),
}
LOOK = """
import json, numba, numpy, scipy.linalg, torch
from numba.core.registry import cpu_target
from numpy._core._multiarray_umath import __cpu_dispatch__ as groups, __cpu_features__ as has
from threadpoolctl import threadpool_info
print(json.dumps({
    "blas": sorted({t["architecture"] for t in threadpool_info() if "architecture" in t}),
    "numpy": [name for name in groups if has[name]],
    "numba": cpu_target.target_context.codegen()._get_host_cpu_name(),
    "torch": torch.backends.cpu.get_cpu_capability(),
}))
"""


def environment(name: str | None) -> dict[str, str]:
    """The environment in which the libraries take the processor for another one."""
    if name is None:
        return dict(os.environ)
    settings, without = PROCESSORS[name]
    groups = [g for g in seen(None)["numpy"] if g.startswith(without)]
    return os.environ | settings | {"NPY_DISABLE_CPU_FEATURES": " ".join(groups)}


@cache
def seen(name: str | None) -> dict:
    """Which kernels the libraries choose, on the processor at hand or on another one."""
    command = [sys.executable, "-c", LOOK]
    run = subprocess.run(command, env=environment(name), capture_output=True, text=True, check=True)
    return json.loads(run.stdout)
