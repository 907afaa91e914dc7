-- name: alone
-- One at a time counts and uses.
SELECT pg_advisory_xact_lock(hashtextextended('use/' || %(what)s, 0));

-- name: forget
-- What does not count any more.
DELETE FROM allowance_uses WHERE what = %(what)s AND at <= %(since)s;

-- name: counted
-- What counts, the oldest first.
SELECT at FROM allowance_uses WHERE what = %(what)s AND at > %(since)s ORDER BY at;

-- name: use
-- One more.
INSERT INTO allowance_uses (what, at) VALUES (%(what)s, %(at)s);
