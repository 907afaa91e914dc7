"""Loads vendors' packages: only where they are needed, and one thread at a time."""

from __future__ import annotations

import importlib
import threading

LOADING = threading.RLock()


def load(*modules: str) -> None:
    """Import vendors' packages, one thread at a time.

    Python breaks a deadlock between threads that import packages with circular imports (`requests`, which both
    `kubernetes` and `stripe` bring in) by handing out a half-made module: an ImportError in a check that ran first.
    """
    with LOADING:
        for module in modules:
            importlib.import_module(module)
