-- name: lock
-- Lock a name until the session ends or unlocks it.
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0)) AS acquired;

-- name: lock_shared
-- The same beside others that share it; nobody locks it alone meanwhile.
SELECT pg_try_advisory_lock_shared(hashtextextended(%(name)s, 0)) AS acquired;

-- name: unlock
-- All that the session has locked: at once, not when the server notices its end.
SELECT pg_advisory_unlock_all();

-- name: name_session
-- Say who the session is, to whoever looks at pg_stat_activity.
SELECT set_config('application_name', %(name)s, false);

-- name: holders
-- How those sessions are called that have locked one of the names; a session of another role may not show its name.
SELECT DISTINCT a.application_name AS name
FROM unnest(%(names)s::text[]) AS wanted(name)
JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended(wanted.name, 0)
JOIN pg_stat_activity a ON a.pid = l.pid AND a.application_name IS NOT NULL
ORDER BY 1;
