-- Which results are about what a release means now is told by their ids: two times can be the same, or a clock go back.

ALTER TABLE releases ADD COLUMN bound_after bigint NOT NULL DEFAULT 0;  -- the last result about what it meant before

UPDATE releases r SET bound_after =
    coalesce((SELECT max(c.id) FROM check_results c WHERE c.release_id = r.id AND c.started_at < r.bound_at), 0);
