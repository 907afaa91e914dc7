"""Versions as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.ids import Version


@pytest.mark.parametrize("text", ["v4.8.0", "v0.0.0", "v10.20.30", "v4.8.0-rc1", "v4.8.0-rc0", "v99999.0.0"])
def test_a_valid_version_is_read(text: str) -> None:
    """A valid version is read and written back unchanged."""
    assert str(Version.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "4.8.0", "v4.8", "v4.8.0.1", "V4.8.0", "v04.8.0", "v4.8.0-rc", "v4.8.0-rc01", "v4.8.0 ", "v4.8.0\n",
     "v4.8.0-beta1", "v100000.0.0", "v4.8.-1", "v٤.8.0", "v4.8.1٤", "vX.Y.Z"],
)  # fmt: skip
def test_an_invalid_version_is_not_read(text: str) -> None:
    """Any other text is no version; only ASCII digits count, so that a version has one spelling."""
    assert Version.parse(text) is None


def test_versions_are_ordered_by_number() -> None:
    """Versions are ordered by number and not as text, and a candidate comes before its release."""
    texts = ["v4.8.0-rc1", "v4.8.0-rc2", "v4.8.0-rc10", "v4.8.0", "v4.8.1", "v4.10.0", "v10.0.0"]
    versions = [version for text in texts if (version := Version.parse(text))]
    assert sorted(set(versions)) == versions


def test_the_bare_version_has_no_v() -> None:
    """The bare version is the one that a Sentry release has."""
    version = Version.parse("v4.8.0-rc1")
    assert version is not None
    assert version.bare == "4.8.0-rc1"


@given(st.text())
def test_any_text_is_a_version_or_none(text: str) -> None:
    """Any text is a version in its own spelling or none, and never raises an error."""
    version = Version.parse(text)
    assert version is None or str(version) == text
