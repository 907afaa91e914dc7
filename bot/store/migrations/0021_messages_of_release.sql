-- The messages of a release are brought up to date together: they are rendered from the same rows.
INSERT INTO work (queue, key) SELECT DISTINCT 'messages', p.release_id::text
FROM work w JOIN posts p ON p.id::text = w.key WHERE w.queue = 'post'
ON CONFLICT ON CONSTRAINT work_once DO NOTHING;
DELETE FROM work WHERE queue = 'post';
