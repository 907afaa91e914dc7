-- The plan of a release that people who may deploy were shown last: what a deploy is to change is held against it before anything is changed.

CREATE TABLE shown_plans (
    release_id bigint      PRIMARY KEY REFERENCES releases,
    plan       jsonb       NOT NULL,  -- by step: its changes; null: nobody could say
    digest     text        NOT NULL,
    shown_at   timestamptz NOT NULL,
    shown_to   text        NOT NULL   -- who asked for it, or pressed Deploy; system: the first step of the deploy told it
);
