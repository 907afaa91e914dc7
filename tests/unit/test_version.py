"""Versions as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.ids import Version


@pytest.mark.parametrize("text", ["v4.8.0", "v0.0.0", "v10.20.30", "v4.8.0-rc1", "v4.8.0-rc0", "v99999.0.0"])
def test_versions(text: str) -> None:
    """What is read is written back the same."""
    assert str(Version.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "4.8.0", "v4.8", "v4.8.0.1", "V4.8.0", "v04.8.0", "v4.8.0-rc", "v4.8.0-rc01", "v4.8.0 ", "v4.8.0\n",
     "v4.8.0-beta1", "v100000.0.0", "v4.8.-1", "v٤.8.0", "v4.8.1٤", "vX.Y.Z"],
)  # fmt: skip
def test_no_versions(text: str) -> None:
    """Everything else is none; other digits than ASCII's would make two spellings of one version."""
    assert Version.parse(text) is None


def test_order() -> None:
    """By number, not by text; a candidate comes before its release."""
    texts = ["v4.8.0-rc1", "v4.8.0-rc2", "v4.8.0-rc10", "v4.8.0", "v4.8.1", "v4.10.0", "v10.0.0"]
    versions = [version for text in texts if (version := Version.parse(text))]
    assert sorted(set(versions)) == versions


def test_bare() -> None:
    """As in a Sentry release."""
    version = Version.parse("v4.8.0-rc1")
    assert version is not None
    assert version.bare == "4.8.0-rc1"


@given(st.text())
def test_any_text_is_a_version_or_none(text: str) -> None:
    """Never an exception; and what is one is its own spelling."""
    version = Version.parse(text)
    assert version is None or str(version) == text
