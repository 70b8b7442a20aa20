import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('identity', '0003_everybody_has_a_team'),
        ('billing', '0003_ledger_is_append_only'),
    ]

    operations = [
        migrations.AlterField(
            model_name='hold',
            name='owner',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=settings.TENANT_MODEL),
        ),
    ]
