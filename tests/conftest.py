"""Lists the modules of fixtures; the fixtures themselves live there, by subject."""

import gc

pytest_plugins = [
    "tests.fix_memory",
    "tests.fix_postgres",
    "tests.fix_kube",
    "tests.fix_sandbox",
    "tests.fix_demo",
    "tests.fix_bot",
    "tests.fix_slack",
    "tests.fix_tags",
    "tests.fix_vendors",
    "tests.fix_sequences",
]


def pytest_collection() -> None:
    """Nothing that is loaded while tests are collected is thrown away again: the garbage collector would look in vain."""
    gc.disable()


def pytest_collection_finish() -> None:
    """It stays to the end, so the collector passes over it from now on."""
    gc.freeze()
    gc.enable()
