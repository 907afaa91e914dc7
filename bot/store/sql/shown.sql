-- name: keep
-- The plan that people were shown last.
INSERT INTO shown_plans (release_id, plan, digest, shown_at, shown_to)
VALUES (%(release_id)s, %(plan)s, %(digest)s, %(at)s, %(to)s)
ON CONFLICT (release_id) DO UPDATE
SET plan = excluded.plan, digest = excluded.digest, shown_at = excluded.shown_at, shown_to = excluded.shown_to;

-- name: get
-- What they have seen.
SELECT plan FROM shown_plans WHERE release_id = %(release_id)s;
