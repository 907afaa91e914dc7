-- name: enter
-- One row a living process.
INSERT INTO instances (host, pid) VALUES (%(host)s, %(pid)s) RETURNING id;

-- name: live
-- Held until the session ends, however it ends.
SELECT pg_advisory_lock(%(class)s, %(id)s::integer);
