import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('identity', '0003_everybody_has_a_team'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apikey',
            name='membership',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='identity.membership'),
        ),
        migrations.RemoveField(
            model_name='apikey',
            name='user',
        ),
    ]
