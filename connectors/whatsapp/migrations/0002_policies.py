"""Raw: partitioned by day, numbered in blocks; whose rows are whose; vacuum settings of the work
list.
"""

from django.db import migrations

from workspaces.rls import key_by_tenant, protect

# EXTERNAL: ciphertext does not compress, trying only costs time. The default partition makes sure
# that a callback is stored even if nobody made today's partition.
RAW = """
CREATE TABLE webhook_deliveries (
    id bigint NOT NULL,
    received_at timestamptz NOT NULL,
    tenant_id uuid NOT NULL,
    size integer NOT NULL,
    digest bytea NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (tenant_id, id, received_at)
) PARTITION BY RANGE (received_at);
ALTER TABLE webhook_deliveries ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE webhook_deliveries_default PARTITION OF webhook_deliveries DEFAULT;
CREATE SEQUENCE webhook_delivery_blocks INCREMENT BY 1000;
"""
RAW_REVERSE = "DROP TABLE webhook_deliveries; DROP SEQUENCE webhook_delivery_blocks;"

# Rows live for milliseconds: without frequent vacuums the index fills with dead entries.
WORK_LIST = """
ALTER TABLE webhook_pending SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000
);
"""

# Partitions are made and dropped by functions of the owner: the application's role may
# change no schema. Each takes a day and nothing else, and has a search path of its own.
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
    "drop_raw_partition": f"""
        EXECUTE format('DROP TABLE IF EXISTS public.%I', {NAME});
    """,
}
# A tenant's role calls none of them.
PARTITIONS = "".join(
    f"CREATE FUNCTION {name}(day date) RETURNS void {HEAD} BEGIN {body} END $$;"
    f"REVOKE ALL ON FUNCTION {name}(date) FROM PUBLIC;"
    for name, body in FUNCTIONS.items()
)
PARTITIONS_REVERSE = "".join(f"DROP FUNCTION {name}(date);" for name in FUNCTIONS)


class Migration(migrations.Migration):
    dependencies = (("whatsapp", "0001_initial"), ("workspaces", "0002_policies"))
    operations = (
        key_by_tenant("webhook_pending", "delivery_id"),
        key_by_tenant("webhook_dead"),
        key_by_tenant("webhook_unhandled"),
        migrations.RunSQL(RAW, RAW_REVERSE),
        migrations.RunSQL(PARTITIONS, PARTITIONS_REVERSE),
        migrations.RunSQL(WORK_LIST, migrations.RunSQL.noop),
        protect("webhook_deliveries"),
        protect("webhook_pending"),
        protect("webhook_dead"),
        protect("webhook_ledger"),
        protect("webhook_unhandled"),
    )
