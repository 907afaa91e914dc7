-- A temporary change that a rollback may need, such as a switch that is off: a debt with an owner until it is back (P7).
CREATE TABLE mitigations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release_id  bigint      NOT NULL REFERENCES releases,
    step        bigint      NOT NULL REFERENCES steps,   -- that offers it; its journal is the mitigation's too
    state       text        NOT NULL CHECK (state IN ('setting', 'set', 'lifting', 'lifted')),
    what        text        NOT NULL,                    -- NAME=value, as people say it
    owner       text        NOT NULL,
    reason      text        NOT NULL,
    was         jsonb,                                   -- what stood there before; recorded before it is changed
    trouble     text        NOT NULL DEFAULT '',         -- why it did not go on; a person has to press again
    progress    text        NOT NULL DEFAULT '',
    begun_at    timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,                    -- the next reminder
    reminders   integer     NOT NULL DEFAULT 0,
    resolved_by text,
    resolved_at timestamptz
);
CREATE UNIQUE INDEX one_open_mitigation ON mitigations (step) WHERE state <> 'lifted';
CREATE INDEX mitigations_of_release ON mitigations (release_id);

-- Why a version whose image was taken back once is released again; empty: it never was.
ALTER TABLE releases ADD COLUMN again_because text NOT NULL DEFAULT '';
