-- Files owed to Slack: evidence that is too long for a message, plots, packs. The bytes stay until Slack has them.
CREATE TABLE files (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release_id   bigint      NOT NULL REFERENCES releases,
    kind         text        NOT NULL,
    subject      text        NOT NULL DEFAULT '',
    name         text        NOT NULL,
    title        text        NOT NULL,
    alt_text     text        NOT NULL DEFAULT '',
    comment      text        NOT NULL DEFAULT '',
    content      bytea       NOT NULL,
    parent       bigint      REFERENCES posts,      -- the post in whose thread it is shared; none: a message shows it
    slack_id     text,                              -- Slack's id once it has the bytes
    attempted_at timestamptz,                       -- a sharing that may have been carried out
    sent_at      timestamptz,
    CONSTRAINT file_once UNIQUE (release_id, kind, subject)
);
