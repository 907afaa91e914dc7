-- What somebody says who has put back by hand what the bot could not; empty: the bot did.
ALTER TABLE mitigations ADD COLUMN note text NOT NULL DEFAULT '';
