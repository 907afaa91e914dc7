-- What takes long is answered at once and once more when it is found.

ALTER TABLE replies ADD COLUMN part text NOT NULL DEFAULT '';  -- of the answer; empty: the first
ALTER TABLE replies DROP CONSTRAINT reply_once;
ALTER TABLE replies ADD CONSTRAINT reply_once UNIQUE (inbox_id, part);
