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


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the garbage collector need not look through it again and again."""
    gc.freeze()
