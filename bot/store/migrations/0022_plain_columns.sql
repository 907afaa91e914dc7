-- Columns and tables are called by what they hold.

ALTER TABLE releases RENAME COLUMN bound_at TO pinned_at;
ALTER TABLE releases RENAME COLUMN unbound TO source_problem;
ALTER TABLE releases RENAME COLUMN bound_after TO results_valid_after;
ALTER TABLE releases RENAME COLUMN again_because TO repeat_reason;
ALTER TABLE check_runs RENAME COLUMN running TO state;
ALTER TABLE uses RENAME TO allowance_uses;
ALTER INDEX uses_of RENAME TO allowance_uses_of;

-- The record and the packs of evidence keep the names of the columns as they were: digests that are on record are over them.
CREATE FUNCTION release_on_record(releases) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT to_jsonb($1) - ARRAY['pinned_at', 'source_problem', 'results_valid_after', 'repeat_reason']
        || jsonb_build_object('bound_at', $1.pinned_at, 'unbound', $1.source_problem,
                              'bound_after', $1.results_valid_after, 'again_because', $1.repeat_reason)
$$;
