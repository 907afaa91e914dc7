-- name: lacking
-- What deploy/postgres-grants.sql gives and the role of this connection has not: table and right.
SELECT c.relname AS name, wanted AS right
FROM pg_class AS c
CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS w (wanted, place)
WHERE c.relnamespace = to_regnamespace('public') AND c.relkind = 'r'
  AND NOT (c.relname IN ('audit', 'check_results', 'journal') AND wanted IN ('UPDATE', 'DELETE'))
  AND NOT (c.relname = 'break_glass' AND wanted = 'DELETE')
  AND NOT (c.relname = 'schema_migrations' AND wanted <> 'SELECT')
  AND NOT has_table_privilege(c.oid, wanted)
ORDER BY name, place;

-- name: rules_over_the_record
-- Whether this role could change what is written once.
SELECT has_table_privilege('audit', 'UPDATE') AS rules;
