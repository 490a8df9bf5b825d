from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("library", "0001_initial"),)
    operations = (migrations.AddField("Book", "pages", models.IntegerField(default=0)),)
