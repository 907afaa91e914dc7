-- name: some
-- The steps of the latest run of each plan of a release, or one step by its row, each with what its journal says.
SELECT s.id AS row, plan, ordinal, step_id AS id, state, summary, progress, before, planned AS planned_changes, attempt, started_at, finished_at,
       by_whom AS by, note, release_id, journal, unfinished_jobs
FROM steps s
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_array(j.entry, j.body -> 'changes') ORDER BY j.id) AS journal
    FROM journal j WHERE j.step = s.id AND j.body ? 'changes'
) changes
CROSS JOIN LATERAL (
    SELECT array_agg(DISTINCT j.body ->> 'job') AS unfinished_jobs
    FROM journal j
    WHERE j.step = s.id AND j.entry = 'observed' AND j.body ? 'job' AND j.body ? 'attempt'
      AND NOT EXISTS (SELECT FROM journal e WHERE e.step = s.id AND e.entry = 'observed' AND e.body ? 'ended'
                      AND e.body ->> 'job' = j.body ->> 'job')
) jobs
WHERE s.id = %(row)s
   OR (s.release_id = %(release_id)s
       AND run = (SELECT max(run) FROM steps l WHERE l.release_id = s.release_id AND l.plan = s.plan))
ORDER BY plan, ordinal;

-- name: add_plan
-- A new run of a plan, step by step.
INSERT INTO steps (release_id, plan, run, ordinal, step_id, state)
SELECT %(release_id)s, %(plan)s,
       (SELECT coalesce(max(run), 0) + 1 FROM steps WHERE release_id = %(release_id)s AND plan = %(plan)s),
       new.ordinal, new.step_id, new.state
FROM unnest(%(step_ids)s::text[], %(states)s::text[]) WITH ORDINALITY AS new (step_id, state, ordinal);

-- name: start
-- It is being carried out.
UPDATE steps SET state = 'running', summary = '', progress = '', started_at = coalesce(started_at, %(at)s), finished_at = NULL
WHERE id = %(row)s AND state IN ('pending', 'running') RETURNING id;

-- name: reach
-- The plan has come to a person's step, and waits.
UPDATE steps SET started_at = coalesce(started_at, %(at)s) WHERE id = %(row)s AND state = 'to_attest';

-- name: progress
-- How far it is.
UPDATE steps SET progress = %(progress)s WHERE id = %(row)s AND state = 'running' AND progress <> %(progress)s RETURNING id;

-- name: before
-- What stood there before it acted; the first look counts.
UPDATE steps SET before = %(before)s WHERE id = %(row)s AND before = '{}';

-- name: finish
-- It ended.
UPDATE steps SET state = %(state)s, summary = %(summary)s, progress = '', finished_at = %(at)s WHERE id = %(row)s AND state = 'running'
RETURNING id;

-- name: retry
-- A failed step is to be carried out again.
UPDATE steps SET state = 'pending', progress = '', finished_at = NULL, attempt = attempt + 1, planned = NULL
WHERE id = %(row)s AND state = 'failed' RETURNING id;

-- name: attest
-- A person has done it: a step that was a person's, or one at which the bot has failed; what the bot saw then replaces its failure.
UPDATE steps SET state = 'attested', by_whom = %(by)s, note = %(note)s, finished_at = %(at)s,
       summary = coalesce(nullif(%(saw)s::text, ''), summary)
WHERE id = %(row)s AND state IN ('to_attest', 'failed') RETURNING id;

-- name: done_for
-- The bot has done a step that was offered to a person, for that person.
UPDATE steps SET state = 'done', summary = %(summary)s, by_whom = %(by)s, finished_at = %(at)s
WHERE id = %(row)s AND state = 'to_attest' RETURNING step_id, run;

-- name: told
-- The message that a step waits for is in the channel; one that was lost and posted anew stands elsewhere.
UPDATE steps SET state = 'done', summary = %(summary)s, finished_at = %(at)s
WHERE id = %(row)s AND (state = 'to_attest' OR (state = 'done' AND summary <> %(summary)s)) RETURNING id;

-- name: cancel
-- The plan is not to go on.
UPDATE steps SET state = 'cancelled', progress = '', finished_at = %(at)s
WHERE release_id = %(release_id)s AND plan = %(plan)s AND state IN ('pending', 'running', 'to_attest');

-- name: journal
-- One line of what a step did.
INSERT INTO journal (step, token, entry, body) VALUES (%(row)s, %(token)s, %(entry)s, %(body)s);

-- name: journal_of
-- What a step did so far.
SELECT entry, body, at FROM journal WHERE step = %(row)s ORDER BY id;

-- name: planned
-- What it is to change.
UPDATE steps SET planned = %(planned)s WHERE id = %(row)s;

-- name: record_target
-- Where a rollback of a plane goes; the first record counts.
INSERT INTO rollback_targets (release_id, plane, body, recorded_at) VALUES (%(release_id)s, %(plane)s, %(body)s, %(at)s)
ON CONFLICT DO NOTHING;

-- name: forget_target
-- Nothing of this plane was about to be changed yet, so where a rollback goes is recorded anew.
DELETE FROM rollback_targets t WHERE t.release_id = %(release_id)s AND t.plane = %(plane)s
  AND NOT EXISTS (SELECT FROM journal j JOIN steps s ON s.id = j.step
                  WHERE s.release_id = t.release_id AND s.step_id = ANY(%(step_ids)s) AND j.entry = 'intent');

-- name: targets
-- Where a rollback goes, each plane by itself.
SELECT plane, body FROM rollback_targets WHERE release_id = %(release_id)s;

-- name: previous
-- The version that was deployed before a release and not taken back.
SELECT r.version FROM releases r JOIN releases this ON this.environment = r.environment AND r.id < this.id
WHERE this.id = %(release_id)s AND r.deployed_at IS NOT NULL AND r.state <> 'ROLLED_BACK'
ORDER BY r.id DESC LIMIT 1;
