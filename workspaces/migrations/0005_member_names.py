"""A request sees what members of its tenant are called: of users nothing else, no address of mail."""

from django.db import migrations

from workspaces.rls import TENANT

# What a user who signs in with an address is called ends before the @.
MAKE = f"""
CREATE FUNCTION tenant_members(after_time timestamptz, after_user integer, how_many integer)
RETURNS TABLE (
    id integer, display_name text, role text, is_active boolean, joined_at timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT u.id, coalesce(nullif(btrim(u.first_name || ' ' || u.last_name), ''),
                          split_part(u.username, '@', 1)),
           m.role::text, u.is_active, m.created_at
    FROM public.memberships m JOIN public.auth_user u ON u.id = m.user_id
    WHERE m.tenant_id = {TENANT} AND (m.created_at, m.user_id) > (after_time, after_user)
    ORDER BY m.created_at, m.user_id LIMIT how_many;
END $$;
REVOKE ALL ON FUNCTION tenant_members(timestamptz, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_members(timestamptz, integer, integer) TO sigma_tenant;
"""


class Migration(migrations.Migration):
    dependencies = (("workspaces", "0004_members"),)
    operations = (
        migrations.RunSQL(
            MAKE, "DROP FUNCTION tenant_members(timestamptz, integer, integer);"
        ),
    )
