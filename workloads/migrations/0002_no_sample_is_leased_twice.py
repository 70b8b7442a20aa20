"""No two ranges of one workload overlap: the workload's id in the high bits makes one number line of all of them."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("workloads", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE workloads_samplerange
              ADD CONSTRAINT positions_fit CHECK ("end" < 1099511627776),
              ADD CONSTRAINT no_sample_is_leased_twice EXCLUDE USING gist (
                int8range(workload_id * 1099511627776 + "start", workload_id * 1099511627776 + "end") WITH &&)
            """,
            """
            ALTER TABLE workloads_samplerange
              DROP CONSTRAINT no_sample_is_leased_twice,
              DROP CONSTRAINT positions_fit
            """,
        )
    ]
