-- Four roles; the appliance's operator; and people who are kept out for a while, of one organisation or of all.
ALTER TABLE control.memberships DROP CONSTRAINT memberships_role_check;
ALTER TABLE control.memberships ADD CONSTRAINT memberships_role_check
    CHECK (role IN ('owner', 'admin', 'member', 'viewer'));
ALTER TABLE control.memberships ADD COLUMN suspended_at timestamptz;

ALTER TABLE control.users ADD COLUMN is_operator boolean NOT NULL DEFAULT false;
ALTER TABLE control.users ADD COLUMN suspended_at timestamptz;
-- Who set an appliance up before there were operators is its operator.
UPDATE control.users SET is_operator = true WHERE id = (SELECT id FROM control.users ORDER BY created_at, id LIMIT 1);
