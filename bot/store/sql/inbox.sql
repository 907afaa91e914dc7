-- name: put
-- Store a delivery; no row when it is already there.
INSERT INTO inbox (delivery, kind, body) VALUES (%(delivery)s, %(kind)s, %(body)s)
ON CONFLICT ON CONSTRAINT inbox_delivery_once DO NOTHING RETURNING id;

-- name: get
-- One delivery.
SELECT id, delivery, kind, body, received_at, handled_at FROM inbox WHERE id = %(id)s;

-- name: handled
-- It has had its effect; no row when it had it before.
UPDATE inbox SET handled_at = %(at)s, outcome = %(outcome)s WHERE id = %(id)s AND handled_at IS NULL RETURNING id;
