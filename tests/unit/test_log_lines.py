"""log_lines: which lines of a log tell of an error."""

import pytest

from checks.kinds.pod_logs.log_lines import error_in


@pytest.mark.parametrize(
    "line",
    [
        "ERROR:    Exception in ASGI application",
        "CRITICAL: out of memory",
        "ERROR boom",
        "ERROR:api.main:boom",
        "[ERROR] boom",
        "[error    ] boom",
        "[sentry] ERROR: boom",
        "api.main - ERROR - boom",
        "2026-01-18 12:00:00,123 - api.main - ERROR - boom",
        "2026-01-18 12:00:00,123 - api.main - 1234 - CRITICAL - boom",
        "2026-01-18 12:00:00,123 - ERROR - boom",
        "2026-01-18 12:00:00,123 ERROR api: boom",
        "2026-01-18 12:00:00,123 api.main ERROR boom",
        "2026-01-18 12:00:00,123 root ERROR boom",
        "2026-01-18 12:00:00,123 api: ERROR: boom",
        "2026-01-18 12:00:00,123 1 ERROR db api.main: boom",
        "2026-01-18 12:00:00,123 [MainThread] ERROR api - boom",
        "2026-01-18 12:00:00.123 | ERROR    | api.main:run:12 - boom",
        "2026-01-18 12:00:00.123 UTC [34] FATAL:  the database system is starting up",
        "2026-01-18T12:00:00.123Z ERROR 1 --- [main] api.Main : boom",
        "2026-01-18T12:00:00Z [error    ] boom",
        "2026/01/18 12:00:00 [error] 7#7: *1 open() failed",
        "[2026-01-18 12:00:00 +0000] [7] [ERROR] Exception in worker process",
        "12:00:00 ERROR boom",
        "\x1b[31mERROR\x1b[0m:    boom",
        'time="2026-01-18T12:00:00Z" level=error msg=boom',
        "level=fatal msg=boom",
        '{"level": "ERROR", "message": "boom"}',
        '{"level": "critical", "message": "boom"}',
        '{"level": "FATAL", "message": "boom"}',
        '{"levelname": "ERROR", "message": "boom"}',
        '{"severity": "ERROR", "message": "boom"}',
        "Traceback (most recent call last):",
    ],
)
def test_a_line_that_reports_an_error_is_recognised(line):
    """An error is JSON of that level, or a level word at the beginning or after time, process and logger only."""
    assert error_in(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "GET /errors 200",
        'INFO:     10.0.0.1:5 - "GET /ERROR HTTP/1.1" 200 OK',
        '10.0.0.1 - - [18/Jan/2026:12:00:00 +0000] "GET /errors HTTP/1.1" 200 5',
        "error_count=0",
        "ERROR_COUNT=0",
        "ERROR=0",
        "ERRORS: 0",
        "no ERROR found",
        "sentry_error_tracking_enabled",
        "INFO:     no ERROR: here",
        "INFO: ERROR: is what the peer said",
        "INFO - ERROR - is what the peer said",
        "WARNING: error connecting in 'pool-1'",
        "2026-01-18 12:00:00,123 no ERROR found",
        "2026-01-18 12:00:00,123 - api.main - INFO - ERROR - is what the peer said",
        "2026-01-18 12:00:00,123 - api.main - INFO - no ERROR found",
        "2026-01-18 12:00:00,123 - api.main - WARNING - [ERROR] is what the peer said",
        "2026-01-18 12:00:00,123 INFO api: ERROR: is what the peer said",
        "2026-01-18 12:00:00,123 [INFO] ERROR: is what the peer said",
        "2026-01-18T12:00:00Z [info     ] [error] is what the peer said",
        "2026-01-18 12:00:00.123 | INFO     | api.main:run:12 - ERROR",
        "level=info msg=error",
        'time="2026-01-18T12:00:00Z" level=info msg="level=error"',
        '{"level": "INFO", "message": "ERROR: boom"}',
        '{"level": "WARNING", "message": "error connecting in \'pool-1\'"}',
        '{"level": "ERROR", "message": "cut in the mid',
        "[1, 2]",
    ],
)
def test_a_line_that_only_mentions_an_error_is_not_one(line):
    """The word somewhere in a line does not make the line an error."""
    assert error_in(line) == ""
