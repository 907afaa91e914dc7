-- name: put
-- Owe a person an answer; one a delivery and part.
INSERT INTO replies (inbox_id, part, user_id, channel, response_url, body, created_at)
VALUES (%(inbox_id)s, %(part)s, %(user)s, %(channel)s, %(response_url)s, %(body)s, %(at)s)
ON CONFLICT ON CONSTRAINT reply_once DO NOTHING RETURNING id;

-- name: get
-- One answer.
SELECT id, inbox_id, user_id AS user, channel, response_url, body, created_at, sent_at FROM replies WHERE id = %(id)s;

-- name: sent
-- It was given.
UPDATE replies SET sent_at = %(at)s WHERE id = %(id)s;
