-- name: enqueue
-- Owe Slack a file.
INSERT INTO files (release_id, kind, subject, name, title, alt_text, comment, content, parent)
VALUES (%(release_id)s, %(kind)s, %(subject)s, %(name)s, %(title)s, %(alt_text)s, %(comment)s, %(content)s, %(parent)s)
ON CONFLICT ON CONSTRAINT file_once DO NOTHING RETURNING id;

-- name: get
-- One file with the place where it is to be shared.
SELECT f.id, f.release_id, f.kind, f.subject, f.name, f.title, f.alt_text, f.comment, f.content, f.parent,
       p.channel, p.ts AS thread_ts, f.slack_id, f.attempted_at, f.sent_at
FROM files f LEFT JOIN posts p ON p.id = f.parent WHERE f.id = %(id)s;

-- name: pictures
-- What the messages of a release may show.
SELECT kind, subject, slack_id FROM files
WHERE release_id = %(release_id)s AND parent IS NULL AND sent_at IS NOT NULL;

-- name: set_slack_id
-- Slack has the bytes (or, with no id, does not have them any more).
UPDATE files SET slack_id = %(slack_id)s, attempted_at = NULL WHERE id = %(id)s;

-- name: record_attempt
-- It is about to be shared.
UPDATE files SET attempted_at = %(at)s WHERE id = %(id)s;

-- name: record_sharing
-- It is there; Slack keeps the bytes from now on.
UPDATE files SET sent_at = %(at)s, content = '' WHERE id = %(id)s;
