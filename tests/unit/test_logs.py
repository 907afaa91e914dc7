"""Log lines can be read by machines and by people, say which release they are about, and hold no secret."""

import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest

from bot import logs
from bot.redact import MARK, Redactor

SECRET = 'quote"and-back\\slash'


@pytest.fixture
def stream() -> io.StringIO:
    """The stream that the process logs to."""
    return io.StringIO()


@pytest.fixture(autouse=True)
def _put_back_logging() -> Iterator[None]:
    """Leave the logging of the test run as it was."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def log_to(stream: io.StringIO, *, as_json: bool = True, level: str = "info") -> logging.Logger:
    """Set up logging as the process does, with one registered secret."""
    redactor = Redactor()
    redactor.register(SECRET)
    logs.setup(level, as_json=as_json, redactor=redactor, stream=stream)
    return logging.getLogger("bot.test")


def fail() -> None:
    """Raise an error that names the secret."""
    message = f"cannot log in with {SECRET}"
    raise RuntimeError(message)


def test_each_line_is_one_json_object(stream):
    """Each line is an object with time in UTC, level, logger, message and the extra fields."""
    log_to(stream).warning("step %s\nfailed", 3, extra={"step": "kube.apply", "seconds": 1.5, "tags": ["a"]})

    line = json.loads(stream.getvalue())
    time = line.pop("time")
    assert line == {
        "level": "WARNING",
        "logger": "bot.test",
        "message": "step 3\nfailed",
        "step": "kube.apply",
        "seconds": 1.5,
        "tags": ["a"],
    }
    assert time.endswith("+00:00")
    assert stream.getvalue().count("\n") == 1


def test_extra_fields_cannot_replace_the_message(stream):
    """An extra field with the name of a standard field does not replace it."""
    log_to(stream).info("true", extra={"level": "false", "time": "false"})

    line = json.loads(stream.getvalue())
    assert (line["level"], line["time"] == "false") == ("INFO", False)


def test_lines_below_the_level_are_not_written(stream):
    """A line below the configured level is not written."""
    log_to(stream, level="warning").info("quiet")

    assert stream.getvalue() == ""


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_removed_from_every_part_of_a_line(stream, as_json):
    """Message, arguments, fields, nested fields, exception and stack are scrubbed, and JSON stays valid."""
    logger = log_to(stream, as_json=as_json)
    try:
        fail()
    except RuntimeError:
        logger.exception("with %s", SECRET, extra={"dsn": SECRET, "deep": {"list": [SECRET]}}, stack_info=True)

    text = stream.getvalue()
    assert "slash" not in text
    assert text.count(MARK) == 4
    assert "RuntimeError: cannot log in with " + MARK in text
    if as_json:
        json.loads(text)


def test_text_for_a_terminal_is_one_line(stream):
    """In text form, level, logger, message and fields are on one line."""
    log_to(stream, as_json=False).info("ready", extra={"port": 80})

    _, text = stream.getvalue().split(" ", 1)
    assert text == "INFO    bot.test: ready port=80\n"


def test_a_line_names_its_release(stream):
    """The release is bound for a block, and after a nested block the outer one is bound again."""
    logger = log_to(stream)
    with logs.about_release(7):
        with logs.about_release(8):
            logger.info("inner")
        logger.info("outer")
    logger.info("after")

    assert [json.loads(line).get("release") for line in stream.getvalue().splitlines()] == ["8", "7", None]


def test_the_release_is_bound_per_thread(stream):
    """Another thread does not inherit the release of this one."""
    logger = log_to(stream)
    with logs.about_release(7):
        other = threading.Thread(target=logger.info, args=("elsewhere",))
        other.start()
        other.join()

    assert "release" not in json.loads(stream.getvalue())


def test_values_without_a_json_form_are_written_as_text(stream):
    """Any value can be logged, and one without a JSON form is written as text."""
    log_to(stream).info("odd", extra={"when": {1}, "nothing": None, "flag": True})

    line = json.loads(stream.getvalue())
    assert (line["when"], line["nothing"], line["flag"]) == ("{1}", None, True)
