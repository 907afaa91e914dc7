-- name: insert
-- A new release; refused by one_active_release while another holds the environment.
INSERT INTO releases (environment, version, state, manager, notes_url, commit_sha, image, digest, checklist_digest,
                      policy_digest, channel, started_at, tagged, pinned_at, confirmed_at, repeat_reason)
VALUES (%(environment)s, %(version)s, 'OPEN', %(manager)s, %(notes_url)s, %(commit)s, %(image)s, %(digest)s,
        %(checklist_digest)s, %(policy_digest)s, %(channel)s, %(at)s, %(tagged)s, %(at)s, %(at)s, %(repeat_reason)s)
RETURNING id;

-- name: keep_checklist
-- The checklist by its digest.
INSERT INTO checklists (digest, body) VALUES (%(digest)s, %(body)s) ON CONFLICT DO NOTHING;

-- name: keep_policy
-- The policy by its digest.
INSERT INTO policies (digest, body) VALUES (%(digest)s, %(body)s) ON CONFLICT DO NOTHING;

-- name: find
-- One release: that of an id, the one that holds an environment, the newest one (of a version where one is given), the newest
-- whose deploy began, whatever became of it, or the newest that has changed the environment and was not taken back.
SELECT id, environment, version, state, manager, notes_url, commit_sha AS commit, image, digest, checklist_digest, policy_digest,
       channel, started_at, deployer, deployed_at, closed_at, reason, tagged AS is_tagged, pinned_at, confirmed_at,
       source_problem, repeat_reason, results_valid_after
FROM releases WHERE id = CASE %(which)s::text
    WHEN 'id' THEN %(id)s::bigint
    WHEN 'active' THEN (
        SELECT r.id FROM releases r WHERE r.environment = %(environment)s
          AND r.state IN ('OPEN', 'DEPLOYING', 'DEPLOY_FAILED', 'WATCHING', 'ROLLING_BACK', 'ROLLBACK_FAILED'))
    WHEN 'latest' THEN (
        SELECT r.id FROM releases r
        WHERE r.environment = %(environment)s AND (%(version)s::text IS NULL OR r.version = %(version)s)
        ORDER BY r.id DESC LIMIT 1)
    WHEN 'latest_begun' THEN (
        SELECT r.id FROM releases r WHERE r.environment = %(environment)s AND r.state NOT IN ('OPEN', 'ABORTED')
        ORDER BY r.id DESC LIMIT 1)
    WHEN 'latest_deployed' THEN (
        SELECT r.id FROM releases r WHERE r.environment = %(environment)s AND r.state NOT IN ('ROLLED_BACK', 'ABORTED')
          AND EXISTS (SELECT FROM steps s WHERE s.release_id = r.id AND s.plan = 'deploy' AND s.started_at IS NOT NULL)
        ORDER BY r.id DESC LIMIT 1)
END;

-- name: lock
-- One release, nobody else changes it until the commit. Rows that refer to it may come in: FOR UPDATE would make somebody who
-- writes the record, of a refusal for example, wait for this lock while its holder waits to write the record.
SELECT id, environment, version, state, manager, notes_url, commit_sha AS commit, image, digest, checklist_digest, policy_digest,
       channel, started_at, deployer, deployed_at, closed_at, reason, tagged AS is_tagged, pinned_at, confirmed_at,
       source_problem, repeat_reason, results_valid_after
FROM releases WHERE id = %(id)s FOR NO KEY UPDATE;

-- name: history
-- The newest releases first.
SELECT id, environment, version, state, manager, notes_url, commit_sha AS commit, image, digest, checklist_digest, policy_digest,
       channel, started_at, deployer, deployed_at, closed_at, reason, tagged AS is_tagged, pinned_at, confirmed_at,
       source_problem, repeat_reason, results_valid_after
FROM releases WHERE environment = %(environment)s ORDER BY id DESC LIMIT %(limit)s;

-- name: move
-- From one state to another; no row when it is not in that state any more.
UPDATE releases SET state = %(to)s,
    deployer    = coalesce(%(deployer)s, deployer),
    deployed_at = coalesce(%(deployed_at)s, deployed_at),
    closed_at   = %(closed_at)s,
    reason      = coalesce(%(reason)s, reason)
WHERE id = %(id)s AND state = %(from)s RETURNING id;

-- name: close
-- It is over; or, with no time, it is open again.
UPDATE releases SET closed_at = %(at)s WHERE id = %(id)s;

-- name: confirm
-- GitHub and the registry were asked again; source_problem: why they do not say the same.
UPDATE releases SET confirmed_at = %(at)s, source_problem = %(source_problem)s WHERE id = %(id)s;

-- name: repin
-- The version means something else now; what was found before does not count, and a reason was given for that image only.
UPDATE releases SET repeat_reason = CASE WHEN digest = %(digest)s THEN repeat_reason ELSE '' END,
                    commit_sha = %(commit)s, digest = %(digest)s, tagged = %(tagged)s, pinned_at = %(at)s, confirmed_at = %(at)s,
                    source_problem = '',
                    results_valid_after = (SELECT coalesce(max(c.id), 0) FROM check_results c WHERE c.release_id = %(id)s)
WHERE id = %(id)s;

-- name: adopt
-- Another policy holds from now on.
UPDATE releases SET policy_digest = %(digest)s WHERE id = %(id)s;

-- name: checklist
-- The checklist of a release.
SELECT body::text AS body FROM checklists WHERE digest = %(digest)s;

-- name: policy
-- The policy of a release.
SELECT body::text AS body FROM policies WHERE digest = %(digest)s;

-- name: running
-- The release that an environment runs, if it has this image; another release than the one that asks.
SELECT version FROM (
    SELECT version, image, digest FROM releases
    WHERE environment = %(environment)s AND id <> %(id)s AND deployed_at IS NOT NULL
      AND state NOT IN ('ROLLING_BACK', 'ROLLBACK_FAILED', 'ROLLED_BACK')
    ORDER BY id DESC LIMIT 1) newest
WHERE image = %(image)s AND digest = %(digest)s;

-- name: known_bad
-- The newest release that has deployed an image, if it was taken back, and when; another release than the one that asks.
-- One that was taken back before its deploy had changed anything says nothing of the image.
SELECT version, reason, (SELECT max(signoffs.at) FROM signoffs
                         WHERE signoffs.release_id = newest.id AND signoffs.purpose = 'rollback') AS at FROM (
    SELECT id, version, state, reason FROM releases
    WHERE environment = %(environment)s AND image = %(image)s AND digest = %(digest)s AND id <> %(id)s
      AND state NOT IN ('OPEN', 'ABORTED')
      AND (state NOT IN ('ROLLING_BACK', 'ROLLBACK_FAILED', 'ROLLED_BACK') OR deployed_at IS NOT NULL OR EXISTS (
          SELECT FROM steps s WHERE s.release_id = releases.id AND s.plan = 'deploy' AND (s.state = 'attested'
              OR EXISTS (SELECT FROM journal j WHERE j.step = s.id AND j.entry = 'intent'))))
    ORDER BY id DESC LIMIT 1) newest
WHERE state IN ('ROLLING_BACK', 'ROLLBACK_FAILED', 'ROLLED_BACK');
