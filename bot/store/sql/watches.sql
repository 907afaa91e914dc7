-- name: get
-- The watch of a release.
SELECT state, started_at, ends_at, polls, last, last_summary, last_poll_at, clear_since FROM watches WHERE release_id = %(release_id)s;

-- name: alarms
-- What it found.
SELECT id, issue, short_id, title, permalink, kind, at, acknowledged_by, acknowledged_at, note
FROM alarms WHERE release_id = %(release_id)s ORDER BY id;

-- name: begin
-- It starts with the deploy's completion.
INSERT INTO watches (release_id, state, started_at, ends_at) VALUES (%(release_id)s, 'running', %(at)s, %(ends_at)s)
ON CONFLICT DO NOTHING;

-- name: polled
-- One more poll.
UPDATE watches SET polls = polls + 1, last = %(seen)s, last_summary = %(summary)s, last_poll_at = %(at)s,
                   clear_since = CASE WHEN %(seen)s = 'cannot tell' THEN clear_since ELSE %(at)s END
WHERE release_id = %(release_id)s AND state = 'running';

-- name: extend
-- It could not tell at the end: go on.
UPDATE watches SET ends_at = %(ends_at)s WHERE release_id = %(release_id)s AND state = 'running';

-- name: close
-- It is over.
UPDATE watches SET state = %(state)s WHERE release_id = %(release_id)s AND state = 'running' RETURNING release_id;

-- name: alarm
-- A new issue; no row when it is known.
INSERT INTO alarms (release_id, issue, short_id, title, permalink, kind, at)
VALUES (%(release_id)s, %(issue)s, %(short_id)s, %(title)s, %(permalink)s, %(kind)s, %(at)s)
ON CONFLICT ON CONSTRAINT alarm_once DO NOTHING RETURNING id;

-- name: acknowledge
-- A person has looked; no row when one had before.
UPDATE alarms SET acknowledged_by = %(by)s, acknowledged_at = %(at)s, note = %(note)s
WHERE id = %(id)s AND acknowledged_by IS NULL RETURNING release_id;

-- name: release_of
-- The release that an alarm belongs to.
SELECT release_id FROM alarms WHERE id = %(id)s;
