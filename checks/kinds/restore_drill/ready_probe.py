"""Asks a product for its readiness until it is ready: runs by itself inside the product's image, on Python 3.8 or newer.

Arguments: port, path, field of the JSON body, its value, seconds. Its last line is its word, as JSON: whether the product is
ready, and what it said. A status of 200 proves nothing: the product answers 200 while it is not ready.
"""

import http.client
import json
import re
import sys
import time

PAUSE, ANSWER_WITHIN = 0.1, 5.0  # seconds
MOST, SHOWN = 65536, 2000  # bytes of an answer that are read, characters that are told


def ask(port: int, path: str, field: str, value: str) -> "tuple[bool, str]":
    """Whether it is ready, and what it said."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read(MOST).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        return False, f"no answer: {exc}"
    finally:
        connection.close()
    if response.status != http.client.OK:
        return False, f"{response.status} {text}"
    try:
        body = json.loads(text)
    except ValueError:
        return False, text
    return isinstance(body, dict) and body.get(field) == value, text


def shown(text: str) -> str:
    """What is told of an answer: where it is cut, whole words only, for half of a secret would not be known for one any more."""
    return text if len(text) <= SHOWN else re.sub(r"[^\s,;&=\"'<>]*\Z", "", text[:SHOWN]) + "…"


def main(port: str, path: str, field: str, value: str, seconds: str) -> int:
    """Ask until it is ready or the time is up; the exit code, 0 when it is ready."""
    end = time.monotonic() + float(seconds)
    while True:
        ready, text = ask(int(port), path, field, value)
        if ready or time.monotonic() > end:
            sys.stdout.write(json.dumps({"ready": ready, "said": shown(text)}) + "\n")
            return 0 if ready else 1
        time.sleep(PAUSE)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
