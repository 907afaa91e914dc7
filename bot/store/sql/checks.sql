-- name: views
-- Each check of a release with its latest result, the beginning of its attachment, and its waiver.
SELECT r.check_id, r.state, r.progress, w.by_whom AS waived_by, w.reason AS waiver_reason, w.at AS waived_at,
       c.id, c.outcome, c.summary, c.asked, c.expected, c.seen,
       left(c.attachment, %(excerpt)s) AS attachment, length(c.attachment) AS attachment_length, c.attachment_name, c.hint, c.data,
       c.started_at, c.finished_at, c.by_whom, c.attested
FROM check_runs r
LEFT JOIN waivers w ON w.release_id = r.release_id AND w.check_id = r.check_id
LEFT JOIN LATERAL (SELECT id, outcome, summary, asked, expected, seen, attachment, attachment_name, hint, data, started_at,
                           finished_at, by_whom, attested FROM check_results x WHERE x.release_id = r.release_id AND x.check_id = r.check_id
                   ORDER BY x.id DESC LIMIT 1) c ON true
WHERE r.release_id = %(release_id)s;

-- name: attachment
-- The whole attachment of one result.
SELECT attachment FROM check_results WHERE id = %(id)s;

-- name: add
-- A check of the checklist becomes part of a release.
INSERT INTO check_runs (release_id, check_id, state, requested_by, requested_at)
VALUES (%(release_id)s, %(check_id)s, 'idle', %(by)s, %(at)s);

-- name: request
-- Ask for a run; one that is under way goes on, and the work queue knows that it is to be done once more.
UPDATE check_runs SET state = CASE state WHEN 'running' THEN 'running' ELSE 'waiting' END,
                      requested_by = %(by)s, requested_at = %(at)s
WHERE release_id = %(release_id)s AND check_id = %(check_id)s RETURNING check_id;

-- name: mark_running
-- It runs now.
UPDATE check_runs SET state = 'running', progress = '' WHERE release_id = %(release_id)s AND check_id = %(check_id)s;

-- name: request_of
-- Who asked for the run, and when.
SELECT requested_by, requested_at FROM check_runs WHERE release_id = %(release_id)s AND check_id = %(check_id)s;

-- name: set_progress
-- What the person who waits is told.
UPDATE check_runs SET progress = %(progress)s WHERE release_id = %(release_id)s AND check_id = %(check_id)s
AND state = 'running' AND progress <> %(progress)s RETURNING check_id;

-- name: mark_waiting
-- What a check waits for that does not run yet.
UPDATE check_runs SET state = 'waiting', progress = %(progress)s
WHERE release_id = %(release_id)s AND check_id = %(check_id)s AND (state <> 'waiting' OR progress <> %(progress)s)
RETURNING check_id;

-- name: mark_ended
-- It does not run any more, or waits to run once more.
UPDATE check_runs SET state = %(state)s, progress = '' WHERE release_id = %(release_id)s AND check_id = %(check_id)s;

-- name: mark_all_idle
-- The release is over: nothing waits any more.
UPDATE check_runs SET state = 'idle', progress = '' WHERE release_id = %(release_id)s;

-- name: record
-- One more result.
INSERT INTO check_results (release_id, check_id, outcome, summary, asked, expected, seen, attachment, attachment_name, hint,
                           data, started_at, finished_at, by_whom, attested)
VALUES (%(release_id)s, %(check_id)s, %(outcome)s, %(summary)s, %(asked)s, %(expected)s, %(seen)s, %(attachment)s,
        %(attachment_name)s, %(hint)s, %(data)s, %(started_at)s, %(finished_at)s, %(by)s, %(attested)s);

-- name: waive
-- Let it go for this release.
INSERT INTO waivers (release_id, check_id, by_whom, reason, at)
VALUES (%(release_id)s, %(check_id)s, %(by)s, %(reason)s, %(at)s) ON CONFLICT DO NOTHING RETURNING check_id;
