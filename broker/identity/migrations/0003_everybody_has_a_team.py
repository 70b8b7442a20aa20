"""Every user so far becomes a team with the same number, so that all that names an owner stays true."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("identity", "0002_teams")]

    operations = [
        migrations.RunSQL(
            """
            INSERT INTO identity_team (id, name, created_at)
              SELECT id, left(username, 80), date_joined FROM identity_user;
            SELECT setval(pg_get_serial_sequence('identity_team', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL)
              FROM identity_team;
            INSERT INTO identity_membership (team_id, user_id, role, created_at)
              SELECT id, id, 'owner', date_joined FROM identity_user ORDER BY id;
            UPDATE identity_apikey SET membership_id = identity_membership.id
              FROM identity_membership WHERE identity_membership.user_id = identity_apikey.user_id;
            -- From now on these two scopes are the staff's: who has such a key is of the staff.
            UPDATE identity_user SET is_staff = true WHERE id IN
              (SELECT user_id FROM identity_apikey WHERE revoked_at IS NULL AND scopes ?| ARRAY['operate', 'observe']);
            """,
            """
            UPDATE identity_apikey SET membership_id = NULL;
            DELETE FROM identity_membership;
            DELETE FROM identity_team;
            """,
        )
    ]
