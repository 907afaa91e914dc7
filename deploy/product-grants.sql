-- For the role that the checks use in the product's database: it reads what the verify functions read as their caller, and
-- no row of a customer. Run it as a superuser, or as the owner of these tables, on staging and on production:
--
--     psql "$PRODUCT_OWNER_URL" --set ON_ERROR_STOP=1 --file deploy/product-grants.sql
--
-- and on staging, where checks change the test tenant, deploy/product-grants-staging.sql after it. The role must exist:
-- CREATE ROLE release_bot_checks LOGIN PASSWORD '…'. It needs no membership of a role of the product.

BEGIN;

GRANT USAGE ON SCHEMA public, auth, billing, consent TO release_bot_checks;
GRANT EXECUTE ON FUNCTION auth.verify_legal_acceptance_integrity(), billing.verify_billing_schema(),
    consent.verify_consent_schema(), public.verify_final_hardening() TO release_bot_checks;
GRANT SELECT ON schema_migrations TO release_bot_checks;

-- A verify function counts what is in these, and row security hides it without a policy. They hold nothing personal.
GRANT SELECT ON auth.legal_documents, consent.purposes TO release_bot_checks;
DROP POLICY IF EXISTS release_bot_reads ON auth.legal_documents;
CREATE POLICY release_bot_reads ON auth.legal_documents FOR SELECT TO release_bot_checks USING (true);
DROP POLICY IF EXISTS release_bot_reads ON consent.purposes;
CREATE POLICY release_bot_reads ON consent.purposes FOR SELECT TO release_bot_checks USING (true);

-- Of these it only has to see that they are there: PostgreSQL hides a table from who has no right on it, and a verify function
-- would say that it is missing. It gets no policy for them here, so row security, which the functions verify, hides every row.
GRANT SELECT ON auth.legal_acceptances, auth.tenant_legal_acceptances, consent.user_consents, consent.consent_history,
    billing.stripe_customers, billing.subscriptions, billing.invoices, billing.webhook_events TO release_bot_checks;
GRANT SELECT (id, billing_status, billing_plan, billing_override_until) ON tenants TO release_bot_checks;

COMMIT;
