-- name: store
-- The plan that people saw last.
INSERT INTO shown_plans (release_id, plan, digest, shown_at, shown_to)
VALUES (%(release_id)s, %(plan)s, %(digest)s, %(at)s, %(viewer)s)
ON CONFLICT (release_id) DO UPDATE
SET plan = excluded.plan, digest = excluded.digest, shown_at = excluded.shown_at, shown_to = excluded.shown_to;

-- name: get
-- The plan that people saw last.
SELECT plan FROM shown_plans WHERE release_id = %(release_id)s;
