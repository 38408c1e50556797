"""Raw: partitioned by day, numbered in blocks; row-level security; vacuum settings of the work list."""

from django.db import migrations

from workspaces.rls import protect

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
    PRIMARY KEY (id, received_at)
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


class Migration(migrations.Migration):
    dependencies = (("connectors", "0001_initial"), ("workspaces", "0002_isolation"))
    operations = (
        migrations.RunSQL(RAW, RAW_REVERSE),
        migrations.RunSQL(WORK_LIST, "ALTER TABLE webhook_pending RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_analyze_scale_factor, autovacuum_analyze_threshold);"),
        protect("webhook_deliveries"),
        protect("webhook_pending"),
        protect("webhook_dead"),
        protect("webhook_ledger"),
        protect("webhook_unhandled"),
    )
