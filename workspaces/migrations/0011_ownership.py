"""How numbers and accounts proved to be their tenant's. Additive: defaults that cost no rewrite."""

from django.db import migrations, models

# Whoever changes an id, through whichever door, is back to having typed it.
RESET = """
CREATE FUNCTION workspace_id_typed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.external_id <> OLD.external_id THEN NEW.number_proof := 0; NEW.account_proof := 0; END IF;
    IF NEW.waba_id <> OLD.waba_id THEN NEW.account_proof := 0; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER workspace_id_typed BEFORE UPDATE OF external_id, waba_id ON workspaces
    FOR EACH ROW EXECUTE FUNCTION workspace_id_typed();
"""
RESET_REVERSE = "DROP TRIGGER workspace_id_typed ON workspaces; DROP FUNCTION workspace_id_typed();"

# What nobody else claims goes on working, without anybody having to prove it first.
SO_FAR = """
UPDATE workspaces w SET number_proof = 1, proven_at = now() WHERE NOT EXISTS (
    SELECT FROM workspaces o WHERE o.external_id = w.external_id AND o.tenant_id <> w.tenant_id);
UPDATE workspaces w SET account_proof = 1, proven_at = now() WHERE waba_id <> '' AND NOT EXISTS (
    SELECT FROM workspaces o WHERE o.waba_id = w.waba_id AND o.tenant_id <> w.tenant_id);
"""
# A number is in use once another tenant's token reads it: a claim that was only typed, or signed
# with a secret that anybody may make up, keeps nobody out.
NUMBER_IN_USE = """
CREATE OR REPLACE FUNCTION number_in_use(who uuid, which_platform integer, number text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM public.workspaces w JOIN public.tenants t ON t.id = w.tenant_id
        WHERE t.status <> 'ERASING' AND w.external_id = number AND w.platform = which_platform
          AND w.tenant_id <> who AND w.is_active AND w.number_proof = 2
    );
END $$;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('workspaces', '0010_fitting_secrets'),
    ]

    operations = [
        migrations.AddField(
            model_name='workspace',
            name='account_proof',
            field=models.PositiveSmallIntegerField(choices=[(0, 'none: somebody typed it'), (1, "a callback signed with the tenant's own app secret"), (2, "the tenant's access token reads it")], db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name='workspace',
            name='number_proof',
            field=models.PositiveSmallIntegerField(choices=[(0, 'none: somebody typed it'), (1, "a callback signed with the tenant's own app secret"), (2, "the tenant's access token reads it")], db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name='workspace',
            name='proven_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.RunSQL(SO_FAR, migrations.RunSQL.noop),
        migrations.RunSQL(RESET, RESET_REVERSE),
        migrations.RunSQL(NUMBER_IN_USE, migrations.RunSQL.noop),
    ]
