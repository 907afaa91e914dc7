-- What a release is bound to is looked up again while it waits, and several people of a role may sign.

ALTER TABLE releases
    ADD COLUMN tagged       boolean     NOT NULL DEFAULT true,  -- whether the commit is that of a tag of the version
    ADD COLUMN bound_at     timestamptz,                        -- since when it means this commit and digest
    ADD COLUMN confirmed_at timestamptz,                        -- when GitHub and the registry last said the same
    ADD COLUMN unbound      text        NOT NULL DEFAULT '';    -- why they do not say the same now

DROP INDEX one_standing_signoff;
CREATE UNIQUE INDEX one_standing_signoff ON signoffs (release_id, purpose, role, by_whom) WHERE ended_at IS NULL;
