"""Rules of the rich_text block: sections, lists, quotes and the leaves in them (docs.slack.dev/reference/block-kit)."""

from collections.abc import Mapping

from sandbox.slack.rules import Rule, array, boolean, integer, one_of, record, string, typed, url

_KIND = string(1)
_ID = string(1, 255)
_STYLE = record(
    {},
    dict.fromkeys(
        ("bold", "italic", "strike", "code", "underline", "highlight", "client_highlight", "unlink"), boolean
    ),
)
_LEAVES: Mapping[str, Rule] = {
    "text": record({"type": _KIND, "text": string(1)}, {"style": _STYLE}),
    "link": record({"type": _KIND, "url": url()}, {"text": string(), "unsafe": boolean, "style": _STYLE}),
    "user": record({"type": _KIND, "user_id": _ID}, {"style": _STYLE}),
    "usergroup": record({"type": _KIND, "usergroup_id": _ID}, {"style": _STYLE}),
    "channel": record({"type": _KIND, "channel_id": _ID}, {"style": _STYLE}),
    "team": record({"type": _KIND, "team_id": _ID}, {"style": _STYLE}),
    "emoji": record(
        {"type": _KIND, "name": string(1)}, {"unicode": string(), "skin_tone": integer(1, 6), "style": _STYLE}
    ),
    "date": record(
        {"type": _KIND, "timestamp": integer(0, 9_999_999_999), "format": string(1)},
        {"url": url(), "fallback": string(), "style": _STYLE},
    ),
    "broadcast": record({"type": _KIND, "range": one_of("here", "channel", "everyone")}, {"style": _STYLE}),
    "color": record({"type": _KIND, "value": string(1)}, {"style": _STYLE}),
}
_LEAF = typed(_LEAVES)
_SECTION = record({"type": _KIND, "elements": array(_LEAF)})
_BORDER: Mapping[str, Rule] = {"border": integer(0, 1)}
_PARTS: Mapping[str, Rule] = {
    "rich_text_section": _SECTION,
    "rich_text_list": record(
        {
            "type": _KIND,
            "style": one_of("bullet", "ordered"),
            "elements": array(typed({"rich_text_section": _SECTION}), 1),
        },
        {"indent": integer(0, 8), "offset": integer(0, 10_000), **_BORDER},
    ),
    "rich_text_quote": record({"type": _KIND, "elements": array(_LEAF)}, _BORDER),
    "rich_text_preformatted": record(
        {"type": _KIND, "elements": array(typed(_LEAVES, ("text", "link")))}, {**_BORDER, "language": string()}
    ),
}
RICH_TEXT = record({"type": _KIND, "elements": array(typed(_PARTS), 1)}, {"block_id": string(1, 255)})
