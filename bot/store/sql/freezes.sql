-- name: now
-- What stops the line at this moment.
SELECT id, by_whom AS by, reason, until, at FROM freezes
WHERE environment = %(environment)s AND ended_at IS NULL AND (until IS NULL OR until > %(now)s);

-- name: finish
-- Lift it.
UPDATE freezes SET ended_at = %(at)s, ended_by = %(by)s WHERE environment = %(environment)s AND ended_at IS NULL RETURNING id;

-- name: begin
-- Stop the line.
INSERT INTO freezes (environment, by_whom, reason, at, until) VALUES (%(environment)s, %(by)s, %(reason)s, %(at)s, %(until)s);
