
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workloads', '0013_owned_by_teams'),
    ]

    operations = [
        migrations.AddField(
            model_name='program',
            name='tar_sha256',
            field=models.CharField(max_length=64, null=True),
        ),
    ]
