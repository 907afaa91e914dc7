-- A deploy past the gate: why, past what, and what somebody else found who looked at it afterwards.
CREATE TABLE break_glass (
    release_id  bigint PRIMARY KEY REFERENCES releases,
    by_whom     text        NOT NULL,
    reason      text        NOT NULL,
    passed      jsonb       NOT NULL,              -- what the gate had against it: cause, about and text of each reason
    at          timestamptz NOT NULL,
    reviewed_by text CHECK (reviewed_by <> by_whom),
    reviewed_at timestamptz,
    finding     text        NOT NULL DEFAULT '',   -- of the review
    CHECK ((reviewed_by IS NULL) = (reviewed_at IS NULL))
);
