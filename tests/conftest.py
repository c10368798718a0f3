"""Settings of all tests: one thread, because small tensors gain nothing from more and results stay comparable."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
