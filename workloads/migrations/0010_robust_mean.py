from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workloads', '0009_resume'),
    ]

    operations = [
        migrations.AddField(
            model_name='round',
            name='outer_mean',
            field=models.CharField(default='mean', max_length=8),
        ),
        migrations.AddField(
            model_name='training',
            name='outer_mean',
            field=models.CharField(blank=True, default='', max_length=8),
            preserve_default=False,
        ),
    ]
