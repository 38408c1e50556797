"""Row-level security, and the counter that tells web processes to look again."""

from django.db import migrations

from workspaces.rls import CREATE_ROLE, protect

WATCHED = ("tenants", "tenant_keys", "tenant_secrets")

DIRECTORY = """
CREATE FUNCTION bump_directory_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO directory_version AS d (id, version) VALUES (1, 1)
    ON CONFLICT (id) DO UPDATE SET version = d.version + 1;
    RETURN NULL;
END $$;
""" + "".join(
    f"CREATE TRIGGER directory_changed AFTER INSERT OR UPDATE OR DELETE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION bump_directory_version();"
    for table in WATCHED
)
DIRECTORY_REVERSE = (
    "".join(f"DROP TRIGGER directory_changed ON {table};" for table in WATCHED)
    + "DROP FUNCTION bump_directory_version();"
)


class Migration(migrations.Migration):
    dependencies = (("workspaces", "0001_initial"),)
    operations = (
        migrations.RunSQL(CREATE_ROLE, migrations.RunSQL.noop),
        migrations.RunSQL(DIRECTORY, DIRECTORY_REVERSE),
        protect("tenants", column="id"),
        protect("workspaces", grant="SELECT, INSERT, UPDATE"),
        protect("tenant_keys"),
        protect("raw_keys"),
    )
