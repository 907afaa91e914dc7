-- The record binds the rows that an event changes: those of one release are found without reading the others.
CREATE INDEX signoffs_of_release ON signoffs (release_id, id);
