"""Raw's partitions are made, indexed and dropped by functions of the owner: the application's role
may change no schema. Each takes a day and nothing else, and has a search path of its own.
"""

from django.db import migrations

NAME = "'webhook_deliveries_' || to_char(day, 'YYYYMMDD')"
HEAD = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$"
FUNCTIONS = {
    "make_raw_partition": f"""
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS public.%I PARTITION OF public.webhook_deliveries '
            'FOR VALUES FROM (%L) TO (%L)', {NAME},
            to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00',
            to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
    """,
    "index_raw_partition": f"""
        EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON public.%I (tenant_id)',
                       {NAME} || '_tenant', {NAME});
    """,
    "drop_raw_partition": f"""
        EXECUTE format('DROP TABLE IF EXISTS public.%I', {NAME});
    """,
}
# A tenant's role calls none of them.
CREATE = "".join(
    f"CREATE FUNCTION {name}(day date) RETURNS void {HEAD} BEGIN {body} END $$;"
    f"REVOKE ALL ON FUNCTION {name}(date) FROM PUBLIC;"
    for name, body in FUNCTIONS.items()
)
DROP = "".join(f"DROP FUNCTION {name}(date);" for name in FUNCTIONS)


class Migration(migrations.Migration):
    dependencies = (("connectors", "0006_positions"),)
    operations = (migrations.RunSQL(CREATE, DROP),)
