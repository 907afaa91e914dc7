"""What the product says of its readiness: always with status 200, so only the body tells."""

from datetime import UTC, datetime
from typing import Any

HEALTHY = "healthy"


def readiness(database: str) -> dict[str, Any]:
    """The body of /health/ready; ``database``: HEALTHY, or what is wrong with it."""
    return {
        "status": "ready" if database == HEALTHY else "not_ready",
        "checks": {
            "database": database,
            "policy_service": "healthy",
            "packs": {"roster": "available", "routing": "available"},
        },
        "timestamp": datetime.now(UTC).isoformat(),
    }
