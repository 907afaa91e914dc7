-- name: lock
-- One writer at a time: the chain has no forks.
SELECT pg_advisory_xact_lock(1919051118);

-- name: head_and_changed
-- The newest event, and the rows about a release that this transaction has written so far: no row of another one is as young.
(SELECT 'audit' AS name, jsonb_build_object('seq', seq, 'hash', hash) AS body FROM audit ORDER BY seq DESC LIMIT 1)
UNION ALL SELECT 'release' AS name, release_on_record(t) AS body FROM releases t WHERE t.id = %(release_id)s AND age(t.xmin) <= 0
UNION ALL SELECT 'check_results', to_jsonb(t) FROM check_results t WHERE t.release_id = %(release_id)s AND age(t.xmin) <= 0
UNION ALL SELECT 'waivers', to_jsonb(t) FROM waivers t WHERE t.release_id = %(release_id)s AND age(t.xmin) <= 0
UNION ALL SELECT 'signoffs', to_jsonb(t) FROM signoffs t WHERE t.release_id = %(release_id)s AND age(t.xmin) <= 0
UNION ALL SELECT 'break_glass', to_jsonb(t) FROM break_glass t WHERE t.release_id = %(release_id)s AND age(t.xmin) <= 0
UNION ALL SELECT 'steps', to_jsonb(t) FROM steps t WHERE t.release_id = %(release_id)s AND age(t.xmin) <= 0
UNION ALL SELECT 'mitigations', to_jsonb(t) FROM mitigations t WHERE t.release_id = %(release_id)s AND age(t.xmin) <= 0
UNION ALL SELECT 'watches', to_jsonb(t) FROM watches t WHERE t.release_id = %(release_id)s AND age(t.xmin) <= 0
UNION ALL SELECT 'alarms', to_jsonb(t) FROM alarms t WHERE t.release_id = %(release_id)s AND age(t.xmin) <= 0;

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
