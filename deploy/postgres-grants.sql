-- The bot's tables for a role that may use them and not rule over them. Run it as their owner, once, after the first
-- `release-bot migrate`, and again after an update that added tables:
--
--     psql "$OWNER_DATABASE_URL" --set ON_ERROR_STOP=1 --file deploy/postgres-grants.sql
--
-- The role release_bot must exist (CREATE ROLE release_bot LOGIN PASSWORD '…'). It cannot change, delete or truncate a row
-- of the record, nor switch off the triggers that refuse it: for that it takes the owner.

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO release_bot;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO release_bot;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO release_bot;

-- What is written once.
REVOKE UPDATE, DELETE, TRUNCATE ON audit, check_results, journal FROM release_bot;

-- What is reviewed, and not taken away.
REVOKE DELETE, TRUNCATE ON break_glass FROM release_bot;

-- Which migrations were applied is for the owner to write.
REVOKE INSERT, UPDATE, DELETE ON schema_migrations FROM release_bot;
