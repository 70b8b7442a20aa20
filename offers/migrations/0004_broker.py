from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("offers", "0003_book")]

    operations = [
        migrations.CreateModel(
            name="Broker",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("mark", models.CharField(max_length=8)),
            ],
        ),
    ]
