"""The words of messages, which are read behind the storing, and how they are found.

The statements on ``messages`` write down which texts are to be read; what PostgreSQL says of such
functions: https://www.postgresql.org/docs/current/sql-createfunction.html
(Writing SECURITY DEFINER Functions Safely)
"""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.functions.datetime
from django.db import migrations, models

from workspaces.rls import TENANT, key_by_tenant, protect

HEAD = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp"
# One row for a statement and number, however many messages it stores.
ADDED = f"""
CREATE FUNCTION note_words_added() RETURNS trigger {HEAD} AS $$
BEGIN
    INSERT INTO public.message_words_pending (tenant_id, workspace_id, message_ids)
    SELECT tenant_id, workspace_id, array_agg(id) FROM added
    WHERE text IS NOT NULL GROUP BY tenant_id, workspace_id;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION note_words_added() FROM PUBLIC;
CREATE TRIGGER words_added AFTER INSERT ON messages REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION note_words_added();
"""
# Words that were taken back are gone with them. They are noted also where there is no text any
# more: the old one may be in hand at this moment.
CHANGED = f"""
CREATE FUNCTION note_words_changed() RETURNS trigger {HEAD} AS $$
BEGIN
    DELETE FROM public.message_words WHERE tenant_id = NEW.tenant_id AND message_id = NEW.id;
    INSERT INTO public.message_words_pending (tenant_id, workspace_id, message_ids)
    VALUES (NEW.tenant_id, NEW.workspace_id, ARRAY[NEW.id]);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION note_words_changed() FROM PUBLIC;
CREATE TRIGGER words_changed AFTER UPDATE OF text ON messages FOR EACH ROW
WHEN (OLD.text IS DISTINCT FROM NEW.text) EXECUTE FUNCTION note_words_changed();
"""
REMOVED = f"""
CREATE FUNCTION remove_words() RETURNS trigger {HEAD} AS $$
BEGIN
    DELETE FROM public.message_words w USING gone
    WHERE w.tenant_id = gone.tenant_id AND w.message_id = gone.id;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION remove_words() FROM PUBLIC;
CREATE TRIGGER words_removed AFTER DELETE ON messages REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION remove_words();
"""
UNDO = """
DROP TRIGGER words_added ON messages; DROP TRIGGER words_changed ON messages;
DROP TRIGGER words_removed ON messages;
DROP FUNCTION note_words_added(); DROP FUNCTION note_words_changed(); DROP FUNCTION remove_words();
"""
# Row-level security lets nobody whom it binds use an index by an operator that is not leakproof, as
# @@ is not. The index is searched for each query until ``enough`` are found, or in one of them as
# many as ``most``; ids of the tenant that the caller acts for are returned, and nothing else.
FIND = f"""
CREATE FUNCTION messages_with_words(queries text[], enough integer, most integer)
RETURNS TABLE (number integer, id uuid) {HEAD}
STABLE SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    who uuid := {TENANT};
    wanted tsquery;
    found integer;
    total integer := 0;
BEGIN
    IF who IS NULL THEN RETURN; END IF;
    FOR place IN 1 .. cardinality(queries) LOOP
        wanted := queries[place]::tsquery;
        RETURN QUERY SELECT place, w.message_id FROM (
            SELECT m.tenant_id, m.message_id FROM public.message_words m
            WHERE m.words @@ wanted OFFSET 0
        ) w WHERE w.tenant_id = who LIMIT most;
        GET DIAGNOSTICS found = ROW_COUNT;
        total := total + found;
        EXIT WHEN total >= enough OR found = most;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION messages_with_words(text[], integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION messages_with_words(text[], integer, integer) TO sigma_tenant;
"""

class Migration(migrations.Migration):

    dependencies = [
        ('messaging', '0013_person_erasures'),
    ]

    operations = [
        migrations.CreateModel(
            name='MessageWords',
            fields=[
                ('message_id', models.UUIDField(primary_key=True, serialize=False)),
                ('tenant_id', models.UUIDField()),
                ('words', django.contrib.postgres.search.SearchVectorField()),
            ],
            options={
                'db_table': 'message_words',
                'indexes': [django.contrib.postgres.indexes.GinIndex(fastupdate=False, fields=['words'], name='message_words_gin')],
            },
        ),
        migrations.CreateModel(
            name='PendingWords',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('tenant_id', models.UUIDField()),
                ('workspace_id', models.UUIDField()),
                ('message_ids', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), size=None)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'db_table': 'message_words_pending',
            },
        ),
        key_by_tenant("message_words", "message_id"),
        key_by_tenant("message_words_pending"),
        protect("message_words"),
        protect("message_words_pending"),
        migrations.RunSQL(ADDED + CHANGED + REMOVED, UNDO),
        migrations.RunSQL(FIND, "DROP FUNCTION messages_with_words(text[], integer, integer)"),
    ]
