-- name: add
-- A new one; refused by one_open_mitigation while the step has an open one.
INSERT INTO mitigations (release_id, step, state, what, owner, reason, begun_at, due_at)
VALUES (%(release_id)s, %(step)s, 'setting', %(what)s, %(owner)s, %(reason)s, %(at)s, %(due_at)s) RETURNING id;

-- name: of_release
-- All of a release, the newest last.
SELECT id, release_id, step, state, what, owner, reason, begun_at, due_at, trouble, progress, reminders, resolved_by, resolved_at, note
FROM mitigations WHERE release_id = %(release_id)s ORDER BY id;

-- name: get
-- One.
SELECT id, release_id, step, state, what, owner, reason, begun_at, due_at, trouble, progress, reminders, resolved_by, resolved_at, note
FROM mitigations WHERE id = %(id)s;

-- name: open
-- What is still to be put back in an environment, whichever release it belongs to.
SELECT m.id, m.release_id, m.step, m.state, m.what, m.owner, m.reason, m.begun_at, m.due_at, m.trouble, m.progress, m.reminders,
       m.resolved_by, m.resolved_at, m.note
FROM mitigations m JOIN releases r ON r.id = m.release_id
WHERE r.environment = %(environment)s AND m.state <> 'lifted' ORDER BY m.id;

-- name: was
-- What stood there before it was changed.
SELECT was FROM mitigations WHERE id = %(id)s;

-- name: keep
-- Keep what stood there; the first record counts.
UPDATE mitigations SET was = %(was)s WHERE id = %(id)s AND was IS NULL;

-- name: move
-- From one state to another.
UPDATE mitigations SET state = %(to)s, trouble = '', progress = '',
    note = %(note)s, resolved_by = coalesce(%(by)s, resolved_by), resolved_at = CASE WHEN %(to)s = 'lifted' THEN %(at)s::timestamptz END
WHERE id = %(id)s AND state = %(from)s RETURNING id;

-- name: say
-- How far it is, or why it does not go on.
UPDATE mitigations SET progress = %(progress)s, trouble = %(trouble)s
WHERE id = %(id)s AND (progress, trouble) IS DISTINCT FROM (%(progress)s, %(trouble)s) RETURNING id;

-- name: reminded
-- Its owner was reminded.
UPDATE mitigations SET reminders = reminders + 1, due_at = %(due_at)s WHERE id = %(id)s;
