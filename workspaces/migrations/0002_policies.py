"""Whose rows are whose, the counter that tells web processes to look again, and what runs as the
tables' owner.

Functions that run as the owner have a search path of their own:
https://www.postgresql.org/docs/current/sql-createfunction.html
(Writing SECURITY DEFINER Functions Safely)
"""

from django.db import migrations

from workspaces.rls import CREATE_ROLE, key_by_tenant, protect

WATCHED = ("tenants", "tenant_keys", "tenant_secrets")

DIRECTORY = """
CREATE FUNCTION bump_directory_version() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO public.directory_version AS d (id, version) VALUES (1, 1)
    ON CONFLICT (id) DO UPDATE SET version = d.version + 1;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION bump_directory_version() FROM PUBLIC;
""" + "".join(
    f"CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION bump_directory_version();"
    for table in WATCHED
)
DIRECTORY_REVERSE = (
    "".join(f"DROP TRIGGER directory_changed ON {table};" for table in WATCHED)
    + "DROP FUNCTION bump_directory_version();"
)

# Row-level security hides other tenants' workspaces from whoever asks; this answers yes or no. A
# number is in use once another tenant's token reads it: a claim that was only typed, or signed with
# a secret that anybody may make up, keeps nobody out.
NUMBER_IN_USE = """
CREATE FUNCTION number_in_use(who uuid, which_platform integer, number text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM public.workspaces w JOIN public.tenants t ON t.id = w.tenant_id
        WHERE t.status <> 'ERASING' AND w.external_id = number AND w.platform = which_platform
          AND w.tenant_id <> who AND w.is_active AND w.number_proof = 2
    );
END $$;
REVOKE ALL ON FUNCTION number_in_use(uuid, integer, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION number_in_use(uuid, integer, text) TO sigma_tenant;
"""

# A tenant's own role (sigma/readers.py) can be removed by the owner alone, and goes with its tenant.
# First it reads nothing and logs in no more, for which no table is locked. The owner may not be
# allowed to close it, but to become it is what ending its sessions and dropping what it has take.
# Then its sessions end and its policies go: a step each call, so that nobody waits for more than
# one table; false: it is gone.
FORGET_TENANT_ROLE = """
CREATE FUNCTION close_tenant_role(tenant uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    reader text := 'sigma_reads_' || replace(tenant::text, '-', '');
    bound text;
    step text;
BEGIN
    FOR bound IN SELECT c.relname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        WHERE p.polname = reader AND c.relnamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('REVOKE ALL ON public.%I FROM %I', bound, reader);
    END LOOP;
    FOREACH step IN ARRAY ARRAY['ALTER ROLE %I NOLOGIN', 'GRANT %I TO CURRENT_USER'] LOOP
        BEGIN
            EXECUTE format(step, reader);
        EXCEPTION WHEN insufficient_privilege OR invalid_grant_operation THEN NULL;
        END;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION close_tenant_role(uuid) FROM PUBLIC;
CREATE FUNCTION forget_tenant_role(tenant uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    reader text := 'sigma_reads_' || replace(tenant::text, '-', '');
    bound text;
BEGIN
    BEGIN
        PERFORM pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = reader;
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
    SELECT c.relname INTO bound FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE p.polname = reader AND c.relnamespace = 'public'::regnamespace LIMIT 1;
    IF bound IS NULL THEN
        BEGIN
            EXECUTE format('DROP OWNED BY %I', reader);
        EXCEPTION WHEN insufficient_privilege THEN NULL;
        END;
        EXECUTE format('REVOKE USAGE ON SCHEMA public FROM %I', reader);
        EXECUTE format('DROP ROLE %I', reader);
        RETURN false;
    END IF;
    EXECUTE format('DROP POLICY %I ON public.%I', reader, bound);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION forget_tenant_role(uuid) FROM PUBLIC;
"""

# Whoever changes an id, through whichever door, is back to having typed it.
TYPED = """
CREATE FUNCTION workspace_id_typed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.external_id <> OLD.external_id THEN NEW.number_proof := 0; NEW.account_proof := 0; END IF;
    IF NEW.waba_id <> OLD.waba_id THEN NEW.account_proof := 0; END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION workspace_id_typed() FROM PUBLIC;
CREATE TRIGGER workspace_id_typed BEFORE UPDATE OF external_id, waba_id ON workspaces
    FOR EACH ROW EXECUTE FUNCTION workspace_id_typed();
"""
TYPED_REVERSE = "DROP TRIGGER workspace_id_typed ON workspaces; DROP FUNCTION workspace_id_typed();"


# What a row refers to is its own tenant's.
OF_ONE_TENANT = """
ALTER TABLE api_keys ADD CONSTRAINT api_keys_of_a_workspace
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES workspaces (tenant_id, id)
    DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE token_checks ADD CONSTRAINT token_checks_of_a_secret
    FOREIGN KEY (tenant_id, secret_id) REFERENCES tenant_secrets (tenant_id, id)
    DEFERRABLE INITIALLY DEFERRED;
"""
OF_ONE_TENANT_REVERSE = """
ALTER TABLE api_keys DROP CONSTRAINT api_keys_of_a_workspace;
ALTER TABLE token_checks DROP CONSTRAINT token_checks_of_a_secret;
"""


class Migration(migrations.Migration):
    dependencies = (("workspaces", "0001_initial"),)
    operations = (
        key_by_tenant("workspaces"),
        key_by_tenant("tenant_keys"),
        key_by_tenant("raw_keys"),
        key_by_tenant("tenant_secrets"),
        key_by_tenant("token_checks", "secret_id"),
        key_by_tenant("api_keys"),
        key_by_tenant("memberships"),
        migrations.RunSQL(OF_ONE_TENANT, OF_ONE_TENANT_REVERSE),
        # It belongs to the whole cluster, and another database may use it: it stays.
        migrations.RunSQL(CREATE_ROLE, migrations.RunSQL.noop),
        migrations.RunSQL(DIRECTORY, DIRECTORY_REVERSE),
        migrations.RunSQL(NUMBER_IN_USE, "DROP FUNCTION number_in_use(uuid, integer, text);"),
        migrations.RunSQL(TYPED, TYPED_REVERSE),
        migrations.RunSQL(
            FORGET_TENANT_ROLE,
            "DROP FUNCTION forget_tenant_role(uuid); DROP FUNCTION close_tenant_role(uuid);",
        ),
        protect("tenants", column="id"),
        protect("workspaces", grant="SELECT, INSERT, UPDATE"),
        protect("tenant_keys"),
        protect("raw_keys"),
        protect("token_checks"),
    )
