"""The networks in C++ as a library of this process: energies, forces and stress of one structure that moves."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.potentials.native.build import HEADERS, find_compiler, shared_library

LIBRARY = "libdistill.so"

THREADS = ("-fopenmp",)
"""Options by which a compiler that knows OpenMP lets several threads share the work."""

_Numbers = np.ctypeslib.ndpointer(dtype=np.float64, flags="C_CONTIGUOUS")
_Integers = np.ctypeslib.ndpointer(dtype=np.int32, flags="C_CONTIGUOUS")
_Pairs = np.ctypeslib.ndpointer(dtype=np.int64, flags="C_CONTIGUOUS")
_ROOM = 256


@cache
def library() -> ctypes.CDLL:
    """Return the library; it is compiled within a minute the first time, and kept in the cache folder.

    Raises:
        UserError: there is no compiler.
        WorkError: the compiler failed.
    """
    path = shared_library(
        LIBRARY, "engine", HEADERS, find_compiler("clang++" if sys.platform == "darwin" else "g++"), if_known=THREADS
    )
    loaded = ctypes.CDLL(str(path))
    loaded.distill_open.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
    loaded.distill_open.restype = ctypes.c_void_p
    loaded.distill_close.argtypes = (ctypes.c_void_p,)
    loaded.distill_list.argtypes = (ctypes.c_void_p, ctypes.c_int, _Integers, ctypes.c_size_t, _Pairs, _Numbers)
    loaded.distill_evaluate.argtypes = (ctypes.c_void_p, ctypes.c_int, *[_Numbers] * 4)
    for name in ("close", "list", "evaluate"):
        getattr(loaded, f"distill_{name}").restype = None
    return loaded


class Engine:
    """A student in C++, which holds one structure at a time.

    Args:
        content: of its file, see :func:`distill.potentials.native.model_file.model_content`.

    Raises:
        UserError: the content is damaged, or there is no compiler.
        WorkError: the compiler failed.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._library, self._atoms = content, library(), 0
        why = ctypes.create_string_buffer(_ROOM)
        self._handle = self._library.distill_open(content, len(content), why, _ROOM)
        if not self._handle:
            raise UserError(why.value.decode(errors="replace"), "the student for the engine in C++")

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.distill_close(self._handle)

    def __reduce__(self) -> tuple[Any, ...]:
        return Engine, (self._content,)

    def list(self, elements: Array, pairs: Array, translations: Array) -> None:
        """Take the structure's atoms, and all pairs of them that may come within the cutoff until the next call.

        Args:
            elements: of each atom the place in the list of those that the student knows, ``[N]``.
            pairs: atoms i and j, each pair once, ``[2, P]`` int64.
            translations: what is added to the position of j, ``[P, 3]`` Å.
        """
        self._atoms = len(elements)
        pairs, translations = np.ascontiguousarray(pairs), np.ascontiguousarray(translations)
        elements = np.ascontiguousarray(elements, dtype=np.int32)
        self._library.distill_list(self._handle, self._atoms, elements, pairs.shape[1], pairs, translations)

    def evaluate(self, positions: Array, threads: int = 1) -> tuple[Array, Array, Array]:
        """Return energies of atoms ``[N]`` eV, forces ``[N, 3]`` eV/Å, and the derivative by a strain ``[3, 3]`` eV.

        Args:
            positions: ``[N, 3]`` Å.
            threads: that share the work; no bit of the result depends on their number.
        """
        energies, forces, strain = np.empty(self._atoms), np.empty((self._atoms, 3)), np.empty((3, 3))
        positions = np.ascontiguousarray(positions)
        self._library.distill_evaluate(self._handle, threads, positions, energies, forces, strain)
        return energies, forces, strain
