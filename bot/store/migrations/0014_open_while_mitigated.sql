-- A release is closed (closed_at) only once nothing of it stands for a while only: one that is rolled back stays open until then.

-- Whether its message is pinned, as the bot last asked of Slack: a card is unpinned when its release closes, and pinned again
-- when it is opened again.
ALTER TABLE posts ADD COLUMN pinned boolean NOT NULL DEFAULT false;
UPDATE posts p SET pinned = true FROM releases r
WHERE r.id = p.release_id AND p.kind = 'card' AND p.ts IS NOT NULL AND r.closed_at IS NULL;

UPDATE releases r SET closed_at = NULL
WHERE state = 'ROLLED_BACK' AND EXISTS (SELECT FROM mitigations m WHERE m.release_id = r.id AND m.state <> 'lifted');

-- A rollback that had waited for one ends without it now.
INSERT INTO work (queue, key) SELECT 'advance', r.id::text FROM releases r
WHERE state = 'ROLLING_BACK' AND EXISTS (SELECT FROM mitigations m WHERE m.release_id = r.id AND m.state <> 'lifted')
ON CONFLICT ON CONSTRAINT work_once DO NOTHING;
