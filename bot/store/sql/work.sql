-- name: ask
-- Ask for things to be done, in this order; what is asked for twice is done once, and once more if it is under way.
-- What is due at once wakes the workers of every replica.
WITH asked AS (
    INSERT INTO work (queue, key, due_at)
    SELECT %(queue)s, new.key, coalesce(%(due_at)s::timestamptz, now())
    FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS new (key, place) ORDER BY new.place
    ON CONFLICT ON CONSTRAINT work_once DO UPDATE
        SET due_at = least(work.due_at, excluded.due_at), again = work.again OR work.owner IS NOT NULL
    RETURNING id)
SELECT pg_notify('work', %(queue)s) WHERE %(due_at)s::timestamptz IS NULL AND EXISTS (SELECT FROM asked);

-- name: wake
-- Tell all workers of every replica.
SELECT pg_notify('work', '');

-- name: claim
-- Take what is due: free, or its lease is over, or its owner is dead.
UPDATE work SET owner = %(owner)s, token = token + 1, attempts = attempts + 1, again = false,
                lease_until = now() + %(lease)s
WHERE id = (
    SELECT w.id FROM work w
    WHERE w.queue = %(queue)s AND w.due_at <= now()
      AND (w.owner IS NULL OR w.lease_until < now() OR NOT EXISTS (
            SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %(class)s::oid
              AND l.objid = w.owner::integer::oid AND l.objsubid = 2
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())))
    ORDER BY w.due_at, w.id
    LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, queue, key, token, attempts;

-- name: renew
-- Prolong a lease; no row when it was taken over.
UPDATE work SET lease_until = now() + %(lease)s WHERE id = %(id)s AND token = %(token)s RETURNING id;

-- name: ensure_claim
-- Lock the claim inside the transaction that writes its effect; no row when it was taken over (fencing).
SELECT again FROM work WHERE id = %(id)s AND token = %(token)s FOR UPDATE;

-- name: begin
-- The same, for work that begins only now: it is what was asked for until here.
UPDATE work SET again = false WHERE id = %(id)s AND token = %(token)s RETURNING id;

-- name: finish
-- Done: forget it, unless it was asked for again meanwhile.
DELETE FROM work WHERE id = %(id)s AND token = %(token)s AND NOT again;

-- name: release
-- Give it back, to be taken again at due_at; at once if it was asked for again meanwhile, unless it has just failed.
UPDATE work SET owner = NULL, lease_until = NULL, again = false, last_error = %(error)s,
                due_at = CASE WHEN again AND %(error)s::text IS NULL THEN least(now(), %(due_at)s) ELSE %(due_at)s END,
                attempts = CASE WHEN %(error)s::text IS NULL THEN 0 ELSE attempts END
WHERE id = %(id)s AND token = %(token)s;

-- name: hasten
-- Due now what would be due too late.
UPDATE work SET due_at = now() WHERE queue = %(queue)s AND owner IS NULL AND due_at > now() + %(within)s::interval;

-- name: next_due
-- When the next thing is due that nobody has.
SELECT min(due_at) AS due_at FROM work WHERE owner IS NULL;

-- name: backlog
-- How much waits, for the metrics.
SELECT queue, count(*) AS waiting, coalesce(extract(epoch FROM now() - min(due_at)), 0) AS oldest
FROM work WHERE due_at <= now() GROUP BY queue ORDER BY queue;

-- name: drop
-- Forget what is no longer wanted.
DELETE FROM work WHERE queue = %(queue)s AND key = ANY(%(keys)s);
