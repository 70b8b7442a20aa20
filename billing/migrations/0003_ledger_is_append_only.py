"""A booked entry is never changed or deleted: a mistake is corrected by another row."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_initial")]

    operations = [
        migrations.RunSQL(
            """
            CREATE FUNCTION billing_refuse_change() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$;
            CREATE TRIGGER the_ledger_is_append_only BEFORE UPDATE OR DELETE ON billing_ledgerentry
              FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
            """,
            """
            DROP TRIGGER the_ledger_is_append_only ON billing_ledgerentry;
            DROP FUNCTION billing_refuse_change();
            """,
        )
    ]
