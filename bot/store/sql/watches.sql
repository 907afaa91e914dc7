-- name: get
-- The watch of a release.
SELECT state, started_at, ends_at, polls, last_poll_at FROM watches WHERE release_id = %(release_id)s;

-- name: readings
-- What each probe said last.
SELECT probe, seen AS status, summary, asked_at, told_at AS last_answer_at, spell, strikes, blames, wait_until, series
FROM watch_readings WHERE release_id = %(release_id)s ORDER BY probe;

-- name: alarms
-- What it found.
SELECT id, issue, short_id, title, permalink, kind, at, acknowledged_by, acknowledged_at, note, probe, covers, series
FROM alarms WHERE release_id = %(release_id)s ORDER BY id;

-- name: begin
-- It starts with the deploy's completion.
INSERT INTO watches (release_id, state, started_at, ends_at) VALUES (%(release_id)s, 'running', %(at)s, %(ends_at)s)
ON CONFLICT DO NOTHING;

-- name: last_seen
-- When the watch was last polled, or began, by whichever process; and what the clocks of this one said at its own last poll.
SELECT coalesce(w.last_poll_at, w.started_at) AS anybody, c.at, c.steady
FROM watches w LEFT JOIN watch_clocks c ON c.release_id = w.release_id AND c.instance = %(instance)s
WHERE w.release_id = %(release_id)s;

-- name: saw
-- What the clocks of this process say now.
INSERT INTO watch_clocks (release_id, instance, at, steady) VALUES (%(release_id)s, %(instance)s, %(at)s, %(steady)s)
ON CONFLICT (release_id, instance) DO UPDATE SET at = excluded.at, steady = excluded.steady;

-- name: polled
-- One more poll.
UPDATE watches SET polls = polls + 1, last_poll_at = %(at)s WHERE release_id = %(release_id)s AND state = 'running';

-- name: move
-- Time that did not pass for the watch: its beginning and its end move along.
UPDATE watches SET started_at = started_at + %(step)s, ends_at = ends_at + %(step)s WHERE release_id = %(release_id)s;

-- name: move_readings
-- The times of the readings move along.
UPDATE watch_readings SET told_at = told_at + %(step)s, asked_at = asked_at + %(step)s,
                          wait_until = wait_until + %(step)s
WHERE release_id = %(release_id)s;

-- name: move_clocks
-- So do those at which the processes polled.
UPDATE watch_clocks SET at = at + %(step)s WHERE release_id = %(release_id)s;

-- name: read
-- What a probe says now.
INSERT INTO watch_readings (release_id, probe, seen, summary, asked_at, told_at, spell, strikes, blames, wait_until, series)
VALUES (%(release_id)s, %(probe)s, %(status)s, %(summary)s, %(asked_at)s, %(last_answer_at)s, %(spell)s, %(strikes)s, %(blames)s,
        %(wait_until)s, %(series)s)
ON CONFLICT (release_id, probe) DO UPDATE
    SET seen = excluded.seen, summary = excluded.summary, asked_at = excluded.asked_at,
        told_at = excluded.told_at, spell = excluded.spell, strikes = excluded.strikes, blames = excluded.blames,
        wait_until = excluded.wait_until, series = excluded.series;

-- name: close
-- It is over.
UPDATE watches SET state = %(state)s WHERE release_id = %(release_id)s AND state = 'running' RETURNING release_id;

-- name: alarm
-- A finding that people are told of; no row when they were.
INSERT INTO alarms (release_id, issue, short_id, title, permalink, kind, at, probe, covers, series)
VALUES (%(release_id)s, %(key)s, %(short_id)s, %(title)s, %(permalink)s, %(kind)s, %(at)s, %(probe)s, %(covers)s, %(series)s)
ON CONFLICT ON CONSTRAINT alarm_once DO NOTHING RETURNING id;

-- name: acknowledge
-- A person has looked; no row when one had before.
UPDATE alarms SET acknowledged_by = %(by)s, acknowledged_at = %(at)s, note = %(note)s
WHERE id = %(id)s AND acknowledged_by IS NULL RETURNING release_id;

-- name: release_of
-- The release that an alarm belongs to.
SELECT release_id FROM alarms WHERE id = %(id)s;
