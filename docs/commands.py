"""The page docs/reference/commands.md: every command and button, as its entry in bot/slack/features declares it."""  # noqa: INP001  beside a script

from __future__ import annotations

from bot.domain.policy import ANY_ROLE, Action, Policy
from bot.slack.blocks.modals import Details
from bot.slack.entries import AnyButton
from bot.slack.features import BUTTONS, COMMANDS

HEAD = """# Commands and buttons

<!-- Written by docs/generate.py from bot/slack/features. Do not edit. -->

## The slash command

Type `/release` in any channel; the messages of a release appear in the one that is configured. Only you see the answer
to a command. `/release` alone shows the list.
"""
AFTER_BUTTONS = """A button acts only on the message on which the bot put it, and only while the release is in a state for it.
Every refusal is answered and recorded.

## Who may do what

The bot reads roles from Slack at the click, and at a deploy once more those of everybody who approved. Bots, guests, deactivated
accounts and people of other workspaces can use nothing but `help`. A full member without a role may look: `status`, `plan`,
`history`, `report` and `doctor`. Forms and Details open for every full member; who may submit a form is asked when it
is submitted. Every act, by every kind of person, in every state of a release: [Who may do what, and when](permissions.md).
"""
END = """A sign-off takes the very role that it is for. Change the rest with `policy.may`, see
[Configuration](configuration.md#policy).
"""


def page() -> str:
    """The page."""
    commands = [
        f"| `{_cell(one.usage)}` | {_cell(f'{one.summary} {one.details}'.strip())} |" for one in COMMANDS.values()
    ]
    buttons = [f"| `{one.id}` | {one.place} | {one.does} | {_form(one)} |" for one in BUTTONS.values()]
    actions = [f"| `{action}` | {_entries(action)} | {_roles(action)} |" for action in Action]
    parts = [
        HEAD,
        _table(["after `/release`", "what it does"], commands),
        "## Buttons\n",
        _table(["button", "where", "what it does", "what its form asks"], buttons),
        AFTER_BUTTONS,
        _table(["action", "command or button", "by default"], actions),
        END,
    ]
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _form(button: AnyButton) -> str:
    if button.modal is None or isinstance(button.modal, Details):
        return ""
    return button.modal.label if button.modal.required else f"{button.modal.label} May be empty."


def _entries(action: Action) -> str:
    """The commands and buttons of an action of the policy."""
    words = [command.word for command in COMMANDS.values() if command.permission is action]
    ids = [button.id for button in BUTTONS.values() if button.permission is action]
    return ", ".join(f"`{name}`" for name in (*words, *ids))


def _roles(action: Action) -> str:
    roles = Policy().roles_for(action)
    return "any of the three roles" if set(roles) == set(ANY_ROLE) else ", ".join(role.title for role in roles)


def _table(head: list[str], rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows]) + "\n"
