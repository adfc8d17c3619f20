//! People across all organisations, as the appliance's operator sees them.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool, Postgres, Transaction, types::Json};
use uuid::Uuid;

use crate::{
    accounts::{EmailAddress, Organisation, Person, PersonMembership, User},
    support::{
        Error, Result,
        ids::{TenantId, UserId},
    },
};

#[derive(FromRow)]
struct PersonRow {
    id: Uuid,
    email: String,
    name: String,
    is_operator: bool,
    created_at: DateTime<Utc>,
    suspended_at: Option<DateTime<Utc>>,
    last_seen_at: Option<DateTime<Utc>>,
    sessions: i64,
    memberships: Option<Json<Vec<PersonMembership>>>,
}

impl TryFrom<PersonRow> for Person {
    type Error = Error;

    fn try_from(row: PersonRow) -> Result<Self> {
        let user = User { id: UserId(row.id), email: row.email.parse()?, name: row.name, operator: row.is_operator };
        Ok(Self {
            user,
            created_at: row.created_at,
            suspended_at: row.suspended_at,
            last_seen_at: row.last_seen_at,
            sessions: row.sessions,
            memberships: row.memberships.map(|Json(memberships)| memberships).unwrap_or_default(),
        })
    }
}

/// Everybody, or those of one organisation, by address.
pub(in crate::accounts) async fn list(control: &PgPool, tenant: Option<&TenantId>) -> Result<Vec<Person>> {
    rows(control, tenant, None).await
}

/// The person of an address.
pub(in crate::accounts) async fn by_email(control: &PgPool, email: &EmailAddress) -> Result<Option<Person>> {
    Ok(rows(control, None, Some(email)).await?.pop())
}

async fn rows(control: &PgPool, tenant: Option<&TenantId>, email: Option<&EmailAddress>) -> Result<Vec<Person>> {
    let rows: Vec<PersonRow> = sqlx::query_as(
        "SELECT u.id, u.email, u.name, u.is_operator, u.created_at, u.suspended_at,
                (SELECT max(m.last_seen_at) FROM memberships m WHERE m.user_id = u.id) AS last_seen_at,
                (SELECT count(*) FROM sessions s WHERE s.user_id = u.id) AS sessions,
                (SELECT jsonb_agg(jsonb_build_object('tenant', t.slug, 'role', m.role, 'suspended_at', m.suspended_at)
                                  ORDER BY t.slug)
                 FROM memberships m JOIN tenants t ON t.id = m.tenant_id WHERE m.user_id = u.id) AS memberships
         FROM users u
         WHERE ($1::text IS NULL OR EXISTS (SELECT FROM memberships m WHERE m.user_id = u.id AND m.tenant_id = $1))
           AND ($2::text IS NULL OR lower(u.email) = lower($2))
         ORDER BY lower(u.email)",
    )
    .bind(tenant.map(TenantId::as_str))
    .bind(email.map(EmailAddress::as_str))
    .fetch_all(control)
    .await?;
    rows.into_iter().map(Person::try_from).collect()
}

/// The organisations that somebody belongs to, suspended there or not.
pub(in crate::accounts) async fn tenants(control: &PgPool, user: UserId) -> Result<Vec<TenantId>> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT t.id FROM memberships m JOIN tenants t ON t.id = m.tenant_id
         WHERE m.user_id = $1 AND t.state = 'active' ORDER BY t.id",
    )
    .bind(user.0)
    .fetch_all(control)
    .await?;
    ids.into_iter().map(|id| id.parse()).collect()
}

/// What they are called.
pub(in crate::accounts) async fn organisations(control: &PgPool, user: UserId) -> Result<Vec<Organisation>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT t.slug, t.name FROM memberships m JOIN tenants t ON t.id = m.tenant_id WHERE m.user_id = $1",
    )
    .bind(user.0)
    .fetch_all(control)
    .await?;
    Ok(rows.into_iter().map(|(slug, name)| Organisation { slug, name }).collect())
}

/// Keeps somebody out everywhere, or no longer; their sessions end. False when it was so already.
pub(in crate::accounts) async fn set_suspended(
    control: &PgPool,
    user: UserId,
    since: Option<DateTime<Utc>>,
) -> Result<bool> {
    let changed = sqlx::query(
        "WITH ended AS (DELETE FROM sessions WHERE user_id = $1 AND $2::timestamptz IS NOT NULL)
         UPDATE users SET suspended_at = $2 WHERE id = $1 AND (suspended_at IS NULL) = ($2::timestamptz IS NOT NULL)",
    )
    .bind(user.0)
    .bind(since)
    .execute(control)
    .await?
    .rows_affected();
    Ok(changed == 1)
}

/// Makes somebody an operator of the appliance, or no longer; their sessions get new tokens. False when it was so already.
pub(in crate::accounts) async fn set_operator(control: &PgPool, user: UserId, operator: bool) -> Result<bool> {
    let changed = sqlx::query(
        "WITH renewed AS (UPDATE sessions SET renew = true WHERE user_id = $1)
         UPDATE users SET is_operator = $2 WHERE id = $1 AND is_operator <> $2",
    )
    .bind(user.0)
    .bind(operator)
    .execute(control)
    .await?
    .rows_affected();
    Ok(changed == 1)
}

/// Removes somebody's account, and with it all that hangs on it.
pub(in crate::accounts) async fn delete(transaction: &mut Transaction<'static, Postgres>, user: UserId) -> Result<()> {
    sqlx::query("DELETE FROM users WHERE id = $1").bind(user.0).execute(&mut **transaction).await?;
    Ok(())
}
