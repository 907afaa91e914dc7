"""Who and what the workspace starts with: the team, its people, user groups and channels."""

from dataclasses import dataclass

from sandbox.slack.shapes import Json

TEAM_ID = "T0SOLVE001"
TEAM_NAME = "solvereign"
OTHER_TEAM_ID = "T0OTHER001"
OTHER_TEAM_NAME = "partner"
APP_ID = "A0RELEASE1"
BOT_ID = "B0BOT00001"
BOT_USER_ID = "U0BOT00001"
RELEASES_ID = "C0RELEASES1"
GENERAL_ID = "C0GENERAL01"
CREATION_TIME = 1_735_689_600  # the workspace is as old as 2025


@dataclass(frozen=True)
class Person:
    """A member of the workspace, or a guest of another one."""

    id: str
    handle: str  # what is typed after @
    name: str
    role: str  # key under which tests and plays know the person
    title: str  # the role in words, for the page
    avatar_color: str
    guest: bool = False
    bot: bool = False

    @property
    def team_id(self) -> str:
        """The workspace the person belongs to."""
        return OTHER_TEAM_ID if self.guest else TEAM_ID

    def as_slack_user(self) -> Json:
        """The user object of users.info and users.list."""
        user: Json = {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.handle,
            "deleted": False,
            "color": self.avatar_color.lstrip("#"),
            "real_name": self.name,
            "tz": "Europe/Berlin",
            "tz_label": "Central European Time",
            "tz_offset": 3600,
            "profile": {
                "real_name": self.name,
                "display_name": self.handle,
                "real_name_normalized": self.name,
                "display_name_normalized": self.handle,
                "title": self.title,
                "team": self.team_id,
            },
            "is_admin": False,
            "is_owner": False,
            "is_primary_owner": False,
            "is_restricted": self.guest,
            "is_ultra_restricted": False,
            "is_bot": self.bot,
            "is_app_user": False,
            "is_email_confirmed": True,
            "updated": CREATION_TIME,
        }
        if self.guest:
            user["is_stranger"] = True
        if self.bot:
            user["profile"] |= {"bot_id": BOT_ID, "api_app_id": APP_ID, "always_active": True}
        return user


PEOPLE = (
    Person("U0RITA0001", "rita", "Rita Reyes", "release_manager", "Release Manager", "#c2410c"),
    Person("U0MAX00001", "max", "Max Mori", "release_manager_2", "Release Manager", "#0f766e"),
    Person("U0QUINN001", "quinn", "Quinn Quist", "qa", "QA", "#7c3aed"),
    Person("U0PAT00001", "pat", "Pat Park", "product", "Product", "#be185d"),
    Person("U0DEV00001", "dev", "Dev Diaz", "developer", "Developer", "#1d4ed8"),
    Person("U0GUEST001", "gus", "Gus Gale", "guest", "Guest of another company", "#4d7c0f", guest=True),
)
BOT = Person(BOT_USER_ID, "release-bot", "Release Bot", "bot", "Release Bot", "#334155", bot=True)
EVERYBODY = {person.id: person for person in (*PEOPLE, BOT)}


@dataclass(frozen=True)
class UserGroup:
    """A user group of the workspace."""

    id: str
    handle: str
    name: str
    users: tuple[str, ...]

    def as_slack_usergroup(self, *, include_users: bool) -> Json:
        """The object of usergroups.list."""
        group: Json = {
            "id": self.id,
            "team_id": TEAM_ID,
            "is_usergroup": True,
            "is_subteam": True,
            "name": self.name,
            "handle": self.handle,
            "description": "",
            "is_external": False,
            "date_create": CREATION_TIME,
            "date_update": CREATION_TIME,
            "date_delete": 0,
            "user_count": len(self.users),
        }
        if include_users:
            group["users"] = list(self.users)
        return group


USER_GROUPS = {
    group.id: group
    for group in (
        UserGroup("S0RELMGR01", "release-managers", "Release Managers", ("U0RITA0001", "U0MAX00001")),
        UserGroup("S0QA000001", "qa", "QA", ("U0QUINN001",)),
        UserGroup("S0PRODUCT1", "product", "Product", ("U0PAT00001",)),
    )
}


def first_channels() -> dict[str, Json]:
    """The channels of a new workspace. The guest makes #releases one that is shared with another company."""
    people = [person.id for person in PEOPLE]
    members = [person.id for person in PEOPLE if not person.guest]
    return {
        RELEASES_ID: {"id": RELEASES_ID, "name": "releases", "members": [BOT_USER_ID, *people]},
        GENERAL_ID: {"id": GENERAL_ID, "name": "general", "members": members},
    }
