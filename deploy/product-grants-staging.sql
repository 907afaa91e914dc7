-- What the checks change on staging, and put back: the billing status of the test tenant, and the rows of their own test
-- events. Never run it on production. After deploy/product-grants.sql, with the id of the test tenant:
--
--     psql "$STAGING_OWNER_URL" --set ON_ERROR_STOP=1 --set tenant=1 --file deploy/product-grants-staging.sql

BEGIN;

GRANT UPDATE (billing_status) ON tenants TO release_bot_checks;
DROP POLICY IF EXISTS release_bot_reads ON tenants;
CREATE POLICY release_bot_reads ON tenants FOR SELECT TO release_bot_checks USING (id = :tenant);
DROP POLICY IF EXISTS release_bot_changes ON tenants;
CREATE POLICY release_bot_changes ON tenants FOR UPDATE TO release_bot_checks USING (id = :tenant);

GRANT DELETE ON billing.webhook_events, billing.invoices TO release_bot_checks;
DROP POLICY IF EXISTS release_bot_own ON billing.webhook_events;
CREATE POLICY release_bot_own ON billing.webhook_events TO release_bot_checks
    USING (stripe_event_id LIKE 'evt\_releasebot\_%');
DROP POLICY IF EXISTS release_bot_own ON billing.invoices;
CREATE POLICY release_bot_own ON billing.invoices TO release_bot_checks USING (stripe_invoice_id LIKE 'in\_releasebot\_%');

COMMIT;
