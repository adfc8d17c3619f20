-- A tenant's life: in service, suspended, waiting for its deletion, being removed; gone is a row that is no more.
ALTER TABLE control.tenants DROP CONSTRAINT tenants_state_check;
ALTER TABLE control.tenants ADD CONSTRAINT tenants_state_check
    CHECK (state IN ('creating', 'active', 'suspended', 'deleting', 'removing'));
-- Both outlast the wait for a deletion, so that who is taken back from it is suspended still.
ALTER TABLE control.tenants ADD COLUMN suspended_at timestamptz;
ALTER TABLE control.tenants ADD COLUMN suspended_reason text;
-- The end of the grace period.
ALTER TABLE control.tenants ADD COLUMN delete_after timestamptz;
ALTER TABLE control.tenants ADD CONSTRAINT tenants_dates CHECK (
    (state <> 'suspended' OR suspended_at IS NOT NULL) AND (state NOT IN ('deleting', 'removing') OR delete_after IS NOT NULL)
);
-- The few that are not in service: looked at often, by every node.
CREATE INDEX tenants_out_of_service ON control.tenants (id) WHERE state <> 'active';
