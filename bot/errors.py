"""The whole tree of errors; nothing but exception classes lives here.

BotError                         root: everything that we tell a person in plain words
├── ConfigError                  the configuration cannot be used
│   └── ChecklistError           the checklist cannot be used
├── DatabaseError                our own database cannot be used
│   └── EmbeddedPostgresError    the private PostgreSQL does not start or stop
├── VendorError                  somebody else's system did not answer, or not as agreed
│   └── IdentityUnknown          Slack did not say who clicked
├── StepError                    a step of a plan failed; the world may have changed
│   ├── Superseded               the step is no longer ours to carry out
│   ├── NoAnswer                 a vendor gave none: what was asked for may or may not have been carried out
│   └── Contradicted             what stands in the world speaks against the step, or against what a person says of it
└── RefusedError                 we will not do what was asked, for a reason that we name
    ├── InvalidInput             the text or value makes no sense
    ├── NotAllowed               the person may not do this
    ├── GateClosed               the gate lists reasons against it
    ├── StaleButton              the button belongs to another message, release or state
    ├── UnknownThing             no such release, check or step
    └── ActiveReleaseExists      another release holds the environment

Vendor errors are translated into these at one seam per adapter, always with `raise ... from`. The command line turns a
`BotError` into its message, its hint and its exit code; Slack's error handler shows message and hint.
"""

import inspect


class BotError(Exception):
    """Something went wrong in the release bot."""

    exit_code: int = 1

    def __init__(self, message: str | None = None, *, hint: str = "") -> None:
        """Keep what to tell a person.

        `message` says what is wrong (default: the docstring of the class), `hint` what to do about it.
        """
        self.user_message: str = message if message is not None else inspect.getdoc(type(self)) or ""
        self.hint: str = hint
        super().__init__(self.user_message)


class ConfigError(BotError):
    """The configuration cannot be used."""

    exit_code = 2


class ChecklistError(ConfigError):
    """The checklist cannot be used."""


class DatabaseError(BotError):
    """The bot's database cannot be used."""


class EmbeddedPostgresError(DatabaseError):
    """The private PostgreSQL does not start or stop."""


class VendorError(BotError):
    """A system that the bot depends on did not answer as agreed."""


class IdentityUnknown(VendorError):
    """Slack did not say who you are, so nothing was done."""


class StepError(BotError):
    """The step failed."""


class Superseded(StepError):
    """The release has moved on: this step is no longer to be carried out."""


class NoAnswer(StepError):
    """The vendor gave no answer: look again before anything else is done."""

    def __init__(self, message: str | None = None, *, hint: str = "", retry_after: float | None = None) -> None:
        """``retry_after``: seconds for which the vendor asks to be left alone."""
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Contradicted(StepError):
    """What the bot sees speaks against it."""


class RefusedError(BotError):
    """The bot will not do that."""


class InvalidInput(RefusedError):
    """That makes no sense here."""


class NotAllowed(RefusedError):
    """You may not do that."""


class GateClosed(RefusedError):
    """No-Go."""


class StaleButton(RefusedError):
    """This button belongs to an older state of the release. Nothing was done."""


class UnknownThing(RefusedError):
    """There is no such thing."""


class ActiveReleaseExists(RefusedError):
    """Another release holds this environment."""
