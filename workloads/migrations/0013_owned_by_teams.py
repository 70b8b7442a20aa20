import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('identity', '0003_everybody_has_a_team'),
        ('workloads', '0012_live_rows'),
    ]

    operations = [
        migrations.AlterField(
            model_name='program',
            name='owner',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=settings.TENANT_MODEL),
        ),
        migrations.AlterField(
            model_name='workload',
            name='owner',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=settings.TENANT_MODEL),
        ),
    ]
