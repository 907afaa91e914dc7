"""A small Kubernetes: the API server, the controllers and one kubelet, as far as releases need them.

`KubeServer` is the simulator. `seed`, `install` (the bot's account) and `apply_fault` reach any API server over HTTP, so they
prepare a real cluster in the same way. What does not belong here: the product that the pods pretend to run (`sandbox.staging`).
"""

from sandbox.kube.account import install
from sandbox.kube.client import KubeError
from sandbox.kube.faults import FAULTS, apply_fault
from sandbox.kube.seed import RESTORE_SECRET, AppSeed, BackupSeed, BucketSeed, Seed, production_app, seed, staging_app
from sandbox.kube.server import KubeServer

__all__ = [
    "FAULTS",
    "RESTORE_SECRET",
    "AppSeed",
    "BackupSeed",
    "BucketSeed",
    "KubeError",
    "KubeServer",
    "Seed",
    "apply_fault",
    "install",
    "production_app",
    "seed",
    "staging_app",
]
