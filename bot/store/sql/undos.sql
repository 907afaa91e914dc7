-- name: record
-- What is about to be changed, and how it is undone.
INSERT INTO undos (release_id, check_id, kind, target, what, payload, owner)
VALUES (%(release_id)s, %(check_id)s, %(kind)s, %(target)s, %(what)s, %(payload)s, %(owner)s) RETURNING id;

-- name: settle
-- It is undone.
UPDATE undos SET settled_at = %(at)s, last_error = NULL WHERE id = %(id)s AND settled_at IS NULL;

-- name: keep_error
-- It could not be undone yet.
UPDATE undos SET last_error = %(error)s WHERE id = %(id)s;

-- name: orphans
-- What nobody is about to undo: the process lives no more, or its check ended and could not put it back.
SELECT u.id, u.release_id, u.check_id, u.kind, u.target, u.what, u.payload, u.owner, u.settled_at
FROM undos u
WHERE u.settled_at IS NULL AND (
    NOT EXISTS (SELECT FROM pg_locks l
                WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %(class)s::oid
                  AND l.objid = u.owner::integer::oid AND l.objsubid = 2
                  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
    OR EXISTS (SELECT FROM check_runs r
               WHERE r.release_id = u.release_id AND r.check_id = u.check_id AND r.state <> 'running'))
ORDER BY u.id DESC;

-- name: open
-- What one check has left to be undone.
SELECT id, release_id, check_id, kind, target, what, payload, owner, settled_at
FROM undos WHERE settled_at IS NULL AND release_id IS NOT DISTINCT FROM %(release_id)s AND check_id = %(check_id)s
ORDER BY id DESC;

-- name: get
-- One entry of the ledger.
SELECT id, release_id, check_id, kind, target, what, payload, owner, settled_at FROM undos WHERE id = %(id)s;
