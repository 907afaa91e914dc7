-- name: standing
-- The signatures that hold, by purpose and role.
SELECT id, role, by_whom AS by, verdict, purpose, reason, fingerprint, at, permalink
FROM signoffs WHERE release_id = %(release_id)s AND ended_at IS NULL ORDER BY id;

-- name: sign
-- Record a signature.
INSERT INTO signoffs (release_id, purpose, role, by_whom, verdict, reason, fingerprint, permalink, at)
VALUES (%(release_id)s, %(purpose)s, %(role)s, %(by)s, %(verdict)s, %(reason)s, %(fingerprint)s, %(permalink)s, %(at)s)
RETURNING id;

-- name: finish
-- It no longer holds: revoked, superseded or void.
UPDATE signoffs SET ended_at = %(at)s, ended_by = %(by)s, ended_why = %(why)s WHERE id = %(id)s AND ended_at IS NULL;

-- name: get
-- One signature, whatever became of it.
SELECT id, role, by_whom AS by, verdict, purpose, reason, fingerprint, at, permalink FROM signoffs WHERE id = %(id)s;
