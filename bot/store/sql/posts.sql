-- name: enqueue
-- Enqueue messages of a release for its channel, or for people; in the thread of its card or outside.
INSERT INTO posts (release_id, kind, subject, channel, parent)
SELECT r.id, new.kind, new.subject, coalesce(new.person, r.channel), card.id
FROM releases r
CROSS JOIN unnest(%(kinds)s::text[], %(subjects)s::text[], %(people)s::text[], %(threaded)s::boolean[])
    WITH ORDINALITY AS new (kind, subject, person, threaded, place)
LEFT JOIN posts card ON new.threaded AND card.release_id = r.id AND card.kind = 'card'
WHERE r.id = %(release_id)s ORDER BY new.place
ON CONFLICT ON CONSTRAINT post_once DO NOTHING;

-- name: find
-- The message of that kind and subject.
SELECT p.id, p.release_id, p.kind, p.subject, p.channel, p.parent, t.ts AS parent_ts, p.ts, p.permalink, p.sent_hash,
       p.attempted_at, p.sent_at, p.pinned AS is_pinned
FROM posts p LEFT JOIN posts t ON t.id = p.parent WHERE p.release_id = %(release_id)s AND p.kind = %(kind)s AND p.subject = %(subject)s;

-- name: by_message
-- The message that Slack knows by channel and ts.
SELECT p.id, p.release_id, p.kind, p.subject, p.channel, p.parent, t.ts AS parent_ts, p.ts, p.permalink, p.sent_hash,
       p.attempted_at, p.sent_at, p.pinned AS is_pinned
FROM posts p LEFT JOIN posts t ON t.id = p.parent WHERE p.channel = %(channel)s AND p.ts = %(ts)s;

-- name: of_release
-- All messages of a release, the card first.
SELECT p.id, p.release_id, p.kind, p.subject, p.channel, p.parent, t.ts AS parent_ts, p.ts, p.permalink, p.sent_hash,
       p.attempted_at, p.sent_at, p.pinned AS is_pinned
FROM posts p LEFT JOIN posts t ON t.id = p.parent WHERE p.release_id = %(release_id)s ORDER BY p.parent NULLS FIRST, p.id;

-- name: of_freezes
-- The releases whose messages say that deploys are frozen or held; of older ones nobody reads that any more.
SELECT DISTINCT release_id FROM (
    SELECT p.release_id FROM posts p JOIN releases r ON r.id = p.release_id
    WHERE r.environment = %(environment)s AND p.kind = 'notice'
      AND (p.subject = 'rolled_back' OR split_part(p.subject, ':', 1) = 'frozen')
    ORDER BY p.id DESC LIMIT 10) newest
ORDER BY release_id;

-- name: record_attempt
-- A first post is about to be sent.
UPDATE posts SET attempted_at = %(at)s WHERE id = %(id)s;

-- name: set_channel
-- The direct channel of a person is known.
UPDATE posts SET channel = %(channel)s WHERE id = %(id)s;

-- name: record_posting
-- It is there.
UPDATE posts SET ts = %(ts)s, permalink = %(permalink)s, sent_hash = %(hash)s, pinned = %(is_pinned)s, sent_at = %(at)s
WHERE id = %(id)s;

-- name: record_update
-- It shows the newest state.
UPDATE posts SET sent_hash = %(hash)s, pinned = %(is_pinned)s, sent_at = %(at)s WHERE id = %(id)s;

-- name: recheck
-- Nobody knows any more what it shows, so the next look sends it once more.
UPDATE posts SET sent_hash = '' WHERE id = %(id)s;

-- name: forget_message
-- Somebody deleted it: post it anew.
UPDATE posts SET ts = NULL, permalink = '', sent_hash = '', pinned = false, attempted_at = NULL WHERE id = %(id)s;
