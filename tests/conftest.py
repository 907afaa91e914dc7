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
    """Switch the garbage collector off while tests are collected, because nothing that is loaded then is freed again."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Exclude everything that has been loaded from garbage collection, because it stays until the end."""
    gc.freeze()
    gc.enable()
