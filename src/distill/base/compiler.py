"""Whether there is the compiler that ``torch.compile`` needs; torch itself is not asked, so that planning is fast."""

from __future__ import annotations

import os
import shutil
import sys


def check_compiler(wanted: bool) -> bool:
    """Return ``wanted``.

    Raises:
        ValueError: it is true, and there is no C++ compiler.
    """
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if wanted and shutil.which(name) is None:
        raise ValueError(f"needs a C++ compiler, and there is no {name}: install it, or leave compile out")
    return wanted
