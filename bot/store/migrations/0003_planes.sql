-- Each plane of production is taken back by itself, to what was recorded of it before the deploy.
ALTER TABLE rollback_targets ADD COLUMN plane text NOT NULL DEFAULT 'backend';
ALTER TABLE rollback_targets ALTER COLUMN plane DROP DEFAULT;
ALTER TABLE rollback_targets DROP CONSTRAINT rollback_targets_pkey;
ALTER TABLE rollback_targets ADD PRIMARY KEY (release_id, plane);

-- What a step is to change, as it was seen before the plan began; NULL: not looked yet.
ALTER TABLE steps ADD COLUMN planned jsonb;
ALTER TABLE steps ADD COLUMN attempt integer NOT NULL DEFAULT 1;
