"""Lists the modules of fixtures; the fixtures themselves live there, by subject."""

import importlib.util

pytest_plugins = [
    name
    for name in ("tests.fix_postgres", "tests.fix_kube", "tests.fix_sandbox")
    if importlib.util.find_spec(name) is not None
]
