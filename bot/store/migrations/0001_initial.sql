-- Everything the bot knows. Races are closed by the constraints here, not by tests in the code.

-- A living process. It holds the advisory lock (1919051117, id) for as long as its session lives, so that the
-- others see at once when it was killed and take over what it had claimed.
CREATE TABLE instances (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host       text        NOT NULL,
    pid        integer     NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now()
);

-- Commands and clicks, stored before Slack gets its ack (P1).
CREATE TABLE inbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery    text        NOT NULL CONSTRAINT inbox_delivery_once UNIQUE,
    kind        text        NOT NULL CHECK (kind IN ('command', 'action', 'view')),
    body        jsonb       NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    handled_at  timestamptz,
    outcome     text
);

-- What is to be done, when, and who does it now. One row a (queue, key): asking twice is asking once.
CREATE TABLE work (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue       text        NOT NULL,
    key         text        NOT NULL,
    due_at      timestamptz NOT NULL DEFAULT now(),
    again       boolean     NOT NULL DEFAULT false, -- asked for while under way: do it once more
    attempts    integer     NOT NULL DEFAULT 0,
    owner       bigint,
    token       bigint      NOT NULL DEFAULT 0,     -- fencing: rises with every claim
    lease_until timestamptz,
    last_error  text,
    CONSTRAINT work_once UNIQUE (queue, key)
);
CREATE INDEX work_due ON work (queue, due_at);

-- The checklist as it was when the release began; a release keeps it whatever the file says later.
CREATE TABLE checklists (
    digest   text PRIMARY KEY,
    body     jsonb       NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE policies (
    digest   text PRIMARY KEY,
    body     jsonb       NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE releases (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment      text        NOT NULL,
    version          text        NOT NULL,
    state            text        NOT NULL CHECK (state IN ('OPEN', 'DEPLOYING', 'DEPLOY_FAILED', 'WATCHING', 'DONE',
                                                           'ROLLING_BACK', 'ROLLBACK_FAILED', 'ROLLED_BACK', 'ABORTED')),
    manager          text        NOT NULL,
    notes_url        text        NOT NULL DEFAULT '',
    commit_sha       text        NOT NULL,
    image            text        NOT NULL,
    digest           text        NOT NULL,
    checklist_digest text        NOT NULL REFERENCES checklists,
    policy_digest    text        NOT NULL REFERENCES policies,
    channel          text        NOT NULL,
    started_at       timestamptz NOT NULL,
    deployer         text,
    deployed_at      timestamptz,
    closed_at        timestamptz,
    reason           text        NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX one_active_release ON releases (environment)
    WHERE state IN ('OPEN', 'DEPLOYING', 'DEPLOY_FAILED', 'WATCHING', 'ROLLING_BACK', 'ROLLBACK_FAILED');

CREATE TABLE check_runs (
    release_id   bigint      NOT NULL REFERENCES releases,
    check_id     text        NOT NULL,
    running      text        NOT NULL CHECK (running IN ('idle', 'waiting', 'running')),
    progress     text        NOT NULL DEFAULT '',
    requested_by text        NOT NULL,
    requested_at timestamptz NOT NULL,
    PRIMARY KEY (release_id, check_id)
);

CREATE TABLE check_results (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release_id      bigint      NOT NULL REFERENCES releases,
    check_id        text        NOT NULL,
    outcome         text        NOT NULL CHECK (outcome IN ('PASS', 'FAIL', 'ERROR', 'INCONCLUSIVE')),
    summary         text        NOT NULL,
    asked           text        NOT NULL,
    expected        text        NOT NULL,
    seen            text        NOT NULL,
    attachment      text        NOT NULL DEFAULT '',
    attachment_name text        NOT NULL DEFAULT '',
    hint            text        NOT NULL DEFAULT '',
    data            jsonb       NOT NULL DEFAULT '{}',
    started_at      timestamptz NOT NULL,
    finished_at     timestamptz NOT NULL,
    by_whom         text        NOT NULL,
    attested        boolean     NOT NULL DEFAULT false
);
CREATE INDEX check_results_latest ON check_results (release_id, check_id, id DESC);

CREATE TABLE waivers (
    release_id bigint      NOT NULL REFERENCES releases,
    check_id   text        NOT NULL,
    by_whom    text        NOT NULL,
    reason     text        NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (release_id, check_id)
);

CREATE TABLE signoffs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release_id  bigint      NOT NULL REFERENCES releases,
    purpose     text        NOT NULL CHECK (purpose IN ('deploy', 'rollback')),
    role        text        NOT NULL,
    by_whom     text        NOT NULL,
    verdict     text        NOT NULL CHECK (verdict IN ('approve', 'decline')),
    reason      text        NOT NULL DEFAULT '',
    fingerprint text        NOT NULL,
    permalink   text        NOT NULL DEFAULT '',
    at          timestamptz NOT NULL,
    ended_at    timestamptz,                        -- revoked, superseded or void
    ended_by    text,
    ended_why   text
);
CREATE UNIQUE INDEX one_standing_signoff ON signoffs (release_id, purpose, role) WHERE ended_at IS NULL;

CREATE TABLE steps (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release_id  bigint      NOT NULL REFERENCES releases,
    plan        text        NOT NULL CHECK (plan IN ('deploy', 'rollback')),
    run         integer     NOT NULL,               -- a second rollback is run 2
    ordinal     integer     NOT NULL,
    step_id     text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed', 'cancelled', 'to_attest', 'attested')),
    summary     text        NOT NULL DEFAULT '',
    progress    text        NOT NULL DEFAULT '',
    before      jsonb       NOT NULL DEFAULT '{}',
    started_at  timestamptz,
    finished_at timestamptz,
    by_whom     text,
    note        text        NOT NULL DEFAULT '',
    CONSTRAINT step_once UNIQUE (release_id, plan, run, step_id)
);

-- Intent, look, act, look, result of each step, in order (P5).
CREATE TABLE journal (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    step    bigint      NOT NULL REFERENCES steps,
    token   bigint      NOT NULL,
    entry   text        NOT NULL CHECK (entry IN ('intent', 'observed', 'acted', 'result')),
    body    jsonb       NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Where a rollback goes: recorded before the deploy, never computed afterwards (P6).
CREATE TABLE rollback_targets (
    release_id  bigint PRIMARY KEY REFERENCES releases,
    body        jsonb       NOT NULL,
    recorded_at timestamptz NOT NULL
);

CREATE TABLE watches (
    release_id   bigint PRIMARY KEY REFERENCES releases,
    state        text        NOT NULL CHECK (state IN ('running', 'clean', 'stopped')),
    started_at   timestamptz NOT NULL,
    ends_at      timestamptz NOT NULL,
    polls        integer     NOT NULL DEFAULT 0,
    last         text,
    last_summary text        NOT NULL DEFAULT '',
    last_poll_at timestamptz,
    clear_since  timestamptz
);

CREATE TABLE alarms (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release_id      bigint      NOT NULL REFERENCES releases,
    issue           text        NOT NULL,
    short_id        text        NOT NULL,
    title           text        NOT NULL,
    permalink       text        NOT NULL,
    kind            text        NOT NULL,
    at              timestamptz NOT NULL,
    acknowledged_by text,
    acknowledged_at timestamptz,
    note            text        NOT NULL DEFAULT '',
    CONSTRAINT alarm_once UNIQUE (release_id, issue)
);

CREATE TABLE freezes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text        NOT NULL,
    by_whom     text        NOT NULL,
    reason      text        NOT NULL,
    at          timestamptz NOT NULL,
    until       timestamptz,
    ended_at    timestamptz,
    ended_by    text
);
CREATE UNIQUE INDEX one_freeze ON freezes (environment) WHERE ended_at IS NULL;

-- Messages owed to Slack: what they show is rendered from the rows above, so a row here holds no content (P8).
CREATE TABLE posts (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release_id   bigint      NOT NULL REFERENCES releases,
    kind         text        NOT NULL,
    subject      text        NOT NULL DEFAULT '',
    channel      text        NOT NULL,
    parent       bigint      REFERENCES posts,      -- the post whose thread it belongs to
    ts           text,
    permalink    text        NOT NULL DEFAULT '',
    sent_hash    text        NOT NULL DEFAULT '',   -- of what Slack shows now
    attempted_at timestamptz,                       -- a first post that may have been carried out
    sent_at      timestamptz,
    CONSTRAINT post_once UNIQUE (release_id, kind, subject)
);
CREATE UNIQUE INDEX post_of_message ON posts (channel, ts) WHERE ts IS NOT NULL;

-- Answers owed to a person: every command and click gets one (P8).
CREATE TABLE replies (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    inbox_id     bigint      NOT NULL REFERENCES inbox,
    user_id      text        NOT NULL,
    channel      text        NOT NULL,
    response_url text        NOT NULL DEFAULT '',
    body         jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    sent_at      timestamptz,
    CONSTRAINT reply_once UNIQUE (inbox_id)
);

-- What a check has changed and has not put back yet (P7).
CREATE TABLE undos (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release_id  bigint REFERENCES releases,
    check_id    text        NOT NULL,
    kind        text        NOT NULL,
    target      text        NOT NULL,
    what        text        NOT NULL,
    payload     jsonb       NOT NULL,
    owner       bigint      NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at  timestamptz,
    last_error  text
);

CREATE TABLE audit (
    seq        bigint PRIMARY KEY,
    at         timestamptz NOT NULL,
    actor      text        NOT NULL,
    event      text        NOT NULL,
    release_id bigint      REFERENCES releases,
    body       jsonb       NOT NULL,
    previous   text        NOT NULL,
    hash       text        NOT NULL
);
CREATE INDEX audit_of_release ON audit (release_id, seq);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON check_results
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
