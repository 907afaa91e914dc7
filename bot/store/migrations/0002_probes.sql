-- The watch asks several probes: what each said last, and which of them raised an alarm.

CREATE TABLE watch_readings (
    release_id bigint      NOT NULL REFERENCES watches,
    probe      text        NOT NULL,                -- its id in the checklist
    seen       text        NOT NULL CHECK (seen IN ('clean', 'regressed', 'cannot tell')),
    summary    text        NOT NULL,
    asked_at   timestamptz NOT NULL,
    told_at    timestamptz,                         -- when it could last tell
    spell      integer     NOT NULL,                -- how often it has ceased to be clean
    strikes    integer     NOT NULL,                -- polls that found fault since it was last clean
    blames     text[]      NOT NULL,                -- keys of what it says now
    wait_until timestamptz,                         -- the vendor asked not to be asked before
    series     jsonb,                               -- the error rate before and after
    PRIMARY KEY (release_id, probe)
);

ALTER TABLE alarms ADD COLUMN probe  text   NOT NULL DEFAULT '',
                   ADD COLUMN covers text[] NOT NULL DEFAULT '{}',  -- the keys that it stands for
                   ADD COLUMN series jsonb;
UPDATE alarms SET covers = ARRAY[issue];

ALTER TABLE watches DROP COLUMN last, DROP COLUMN last_summary, DROP COLUMN clear_since,
                    ADD COLUMN steady_by bigint,           -- instance that polled last
                    ADD COLUMN steady    double precision, -- and its seconds on a clock that nobody can set
                    DROP CONSTRAINT watches_state_check,
                    ADD CONSTRAINT watches_state_check CHECK (state IN ('running', 'clean', 'accepted', 'stopped'));
