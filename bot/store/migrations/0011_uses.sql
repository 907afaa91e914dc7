-- What was used up of things that may be used only so often, such as log-ins; shared by all replicas.
CREATE TABLE uses (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what text        NOT NULL,                      -- target/allowance
    at   timestamptz NOT NULL
);
CREATE INDEX uses_of ON uses (what, at);
