"""Functions that run as the tables' owner: each with a search path of its own.

https://www.postgresql.org/docs/current/sql-createfunction.html
(Writing SECURITY DEFINER Functions Safely)
"""

from django.db import migrations

BUMP = """
CREATE OR REPLACE FUNCTION bump_directory_version() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO public.directory_version AS d (id, version) VALUES (1, 1)
    ON CONFLICT (id) DO UPDATE SET version = d.version + 1;
    RETURN NULL;
END $$;
"""
# Row-level security hides other tenants' workspaces from whoever asks; this answers yes or no. The
# lock holds to the end of the transaction: two who want one number come one after the other.
NUMBER_IN_USE = """
CREATE FUNCTION number_in_use(who uuid, which_platform integer, number text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('number:' || number, 0));
    RETURN EXISTS (
        SELECT FROM public.workspaces w JOIN public.tenants t ON t.id = w.tenant_id
        WHERE t.status <> 'ERASING' AND w.external_id = number AND w.platform = which_platform
          AND w.tenant_id <> who AND w.is_active
    );
END $$;
"""


class Migration(migrations.Migration):
    dependencies = (("workspaces", "0002_isolation"),)
    operations = (
        migrations.RunSQL(BUMP, migrations.RunSQL.noop),
        migrations.RunSQL(NUMBER_IN_USE, "DROP FUNCTION number_in_use(uuid, integer, text);"),
    )
