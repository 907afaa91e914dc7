-- name: add
-- The gate was passed; once a release.
INSERT INTO break_glass (release_id, by_whom, reason, passed, at)
VALUES (%(release_id)s, %(by)s, %(reason)s, %(passed)s, %(at)s);

-- name: get
-- That of one release.
SELECT by_whom AS by, reason, passed AS overridden_reasons, at, reviewed_by, reviewed_at, finding AS review_note FROM break_glass WHERE release_id = %(release_id)s;

-- name: unreviewed
-- The releases of an environment whose break-glass nobody has reviewed, the oldest first.
SELECT r.id FROM break_glass b JOIN releases r ON r.id = b.release_id
WHERE r.environment = %(environment)s AND b.reviewed_by IS NULL ORDER BY r.id;

-- name: review
-- Somebody has looked at it; the first review counts.
UPDATE break_glass SET reviewed_by = %(by)s, reviewed_at = %(at)s, finding = %(review_note)s
WHERE release_id = %(release_id)s AND reviewed_by IS NULL RETURNING release_id;
