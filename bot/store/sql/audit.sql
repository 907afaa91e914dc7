-- name: lock
-- One writer at a time: the chain has no forks.
SELECT pg_advisory_xact_lock(1919051118);

-- name: head
-- The newest line.
SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1;

-- name: append
-- One more line.
INSERT INTO audit (seq, at, actor, event, release_id, body, previous, hash)
VALUES (%(seq)s, %(at)s, %(actor)s, %(event)s, %(release_id)s, %(body)s, %(previous)s, %(hash)s);

-- name: all
-- The whole record in order.
SELECT seq, at, actor, event, release_id AS release, body, previous, hash FROM audit ORDER BY seq;

-- name: of_release
-- What happened to one release.
SELECT seq, at, actor, event, release_id AS release, body, previous, hash FROM audit WHERE release_id = %(release_id)s ORDER BY seq;

-- name: span
-- From the first to the newest row of a release, without a gap.
SELECT seq, at, actor, event, release_id AS release, body, previous, hash FROM audit
WHERE seq BETWEEN (SELECT min(seq) FROM audit WHERE release_id = %(release_id)s)
              AND (SELECT max(seq) FROM audit WHERE release_id = %(release_id)s) ORDER BY seq;
