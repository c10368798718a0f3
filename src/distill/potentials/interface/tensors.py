"""Files that torch wrote, read as numbers: nothing in them is run, and what is wrong is said in our words.

torch's own message for a file with more in it advises to read it all the same.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch


def read_tensors(path: Path) -> Any:
    """Return the tensors, numbers and texts of a file, in plain containers, on the CPU.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or there is more in it; the text is one clause.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise ValueError("it is damaged, or holds more than numbers, which is not read because it could run") from None
    except (RuntimeError, EOFError, KeyError, AttributeError) as error:
        raise ValueError(f"it is damaged: {(str(error).strip() or type(error).__name__).splitlines()[0]}") from None
