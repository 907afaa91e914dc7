-- name: release
-- The release as the record has it.
SELECT release_on_record(r) AS body FROM releases r WHERE id = %(release_id)s;

-- name: rules
-- Its checklist and its policy, as they were stored with their digests.
SELECT c.body AS checklist, p.body AS policy FROM releases r
JOIN checklists c ON c.digest = r.checklist_digest JOIN policies p ON p.digest = r.policy_digest
WHERE r.id = %(release_id)s;

-- name: tables
-- Every table that says something of a release, those of later migrations too; the record goes by itself.
SELECT c.table_name AS name FROM information_schema.columns c JOIN pg_tables t ON t.tablename = c.table_name
WHERE c.column_name = 'release_id' AND c.table_schema = current_schema() AND t.schemaname = current_schema()
  AND c.table_name <> 'audit' ORDER BY 1;

-- name: rows
-- The rows of one of them about a release, as they are; the bytes of files are not part of them.
SELECT to_jsonb(t) - 'content' AS body FROM {} t WHERE release_id = %(release_id)s
ORDER BY (to_jsonb(t) ->> 'id')::bigint NULLS FIRST, to_jsonb(t)::text;

-- name: journal
-- What each step intended, saw, did and concluded.
SELECT to_jsonb(j) || jsonb_build_object('step_id', s.step_id, 'plan', s.plan, 'run', s.run) AS body
FROM journal j JOIN steps s ON s.id = j.step WHERE s.release_id = %(release_id)s ORDER BY j.id;
