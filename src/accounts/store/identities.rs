//! The rows of `control.identities` and `oidc_attempts`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    accounts::{EmailAddress, oidc::Identity},
    db::violates,
    support::{
        Error, Result,
        ids::{IdentityId, TenantId, UserId},
    },
    vault::TokenHash,
};

/// A browser that has been sent to a provider.
pub(in crate::accounts) struct Attempt {
    pub(in crate::accounts) provider: String,
    pub(in crate::accounts) user: Option<UserId>,
    pub(in crate::accounts) next: String,
}

/// An identity that is being linked.
pub(in crate::accounts) struct NewIdentity<'a> {
    pub(in crate::accounts) id: IdentityId,
    pub(in crate::accounts) user: UserId,
    pub(in crate::accounts) issuer: &'a str,
    pub(in crate::accounts) subject: &'a str,
    pub(in crate::accounts) provider: &'a str,
    pub(in crate::accounts) email: Option<&'a str>,
    pub(in crate::accounts) now: DateTime<Utc>,
}

#[derive(FromRow)]
struct IdentityRow {
    id: Uuid,
    issuer: String,
    provider: String,
    email: Option<String>,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
}

/// Remembers a browser, and forgets those that did not come back in time.
pub(in crate::accounts) async fn insert_attempt(
    control: &PgPool,
    token: &TokenHash,
    attempt: &Attempt,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "WITH over AS (DELETE FROM oidc_attempts WHERE expires_at <= $5)
         INSERT INTO oidc_attempts (token_hash, provider, user_id, next, expires_at) VALUES ($1, $2, $3, $4, $6)",
    )
    .bind(token.as_bytes())
    .bind(&attempt.provider)
    .bind(attempt.user.map(|user| user.0))
    .bind(&attempt.next)
    .bind(now)
    .bind(expires_at)
    .execute(control)
    .await?;
    Ok(())
}

/// Takes an attempt away: it is good once, whatever comes of it.
pub(in crate::accounts) async fn take_attempt(
    control: &PgPool,
    token: &TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<Attempt>> {
    let row: Option<(String, Option<Uuid>, String, DateTime<Utc>)> =
        sqlx::query_as("DELETE FROM oidc_attempts WHERE token_hash = $1 RETURNING provider, user_id, next, expires_at")
            .bind(token.as_bytes())
            .fetch_optional(control)
            .await?;
    Ok(row.filter(|(.., expires_at)| *expires_at > now).map(|(provider, user, next, _)| Attempt {
        provider,
        user: user.map(UserId),
        next,
    }))
}

/// Whose identity it is.
pub(in crate::accounts) async fn find(
    control: &PgPool,
    issuer: &str,
    subject: &str,
) -> Result<Option<(IdentityId, UserId)>> {
    let row: Option<(Uuid, Uuid)> =
        sqlx::query_as("SELECT id, user_id FROM identities WHERE issuer = $1 AND subject = $2")
            .bind(issuer)
            .bind(subject)
            .fetch_optional(control)
            .await?;
    Ok(row.map(|(id, user)| (IdentityId(id), UserId(user))))
}

/// Notes that somebody came by an identity, and the address that they have there now.
pub(in crate::accounts) async fn touch(
    control: &PgPool,
    identity: IdentityId,
    email: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query("UPDATE identities SET last_used_at = $2, email = coalesce($3, email) WHERE id = $1")
        .bind(identity.0)
        .bind(now)
        .bind(email)
        .execute(control)
        .await?;
    Ok(())
}

/// Links an identity; `Conflict` when it is linked already.
pub(in crate::accounts) async fn insert(
    transaction: &mut Transaction<'static, Postgres>,
    new: &NewIdentity<'_>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO identities (id, user_id, issuer, subject, provider, email, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new.id.0)
    .bind(new.user.0)
    .bind(new.issuer)
    .bind(new.subject)
    .bind(new.provider)
    .bind(new.email)
    .bind(new.now)
    .execute(&mut **transaction)
    .await
    .map_err(|error| {
        if violates(&error, "identities_key") {
            Error::conflict("This identity is linked to an account already").remedy("Unlink it there first")
        } else {
            error.into()
        }
    })?;
    Ok(())
}

/// Somebody's identities, the oldest first.
pub(in crate::accounts) async fn of_user(control: &PgPool, user: UserId) -> Result<Vec<Identity>> {
    let rows: Vec<IdentityRow> = sqlx::query_as(
        "SELECT id, issuer, provider, email, created_at, last_used_at FROM identities
         WHERE user_id = $1 ORDER BY created_at, id",
    )
    .bind(user.0)
    .fetch_all(control)
    .await?;
    let identity = |row: IdentityRow| Identity {
        id: IdentityId(row.id),
        provider: row.provider,
        issuer: row.issuer,
        email: row.email,
        linked_at: row.created_at,
        last_used_at: row.last_used_at,
    };
    Ok(rows.into_iter().map(identity).collect())
}

/// Unlinks an identity, unless it is the last way in. `None` when there is none such; `false` when it was kept.
pub(in crate::accounts) async fn delete(control: &PgPool, user: UserId, identity: IdentityId) -> Result<Option<bool>> {
    let mut transaction = control.begin().await?;
    let others: Option<bool> = sqlx::query_scalar(
        "SELECT u.password_hash IS NOT NULL OR EXISTS (SELECT FROM identities o WHERE o.user_id = u.id AND o.id <> $2)
         FROM users u JOIN identities i ON i.user_id = u.id
         WHERE u.id = $1 AND i.id = $2 FOR UPDATE OF u",
    )
    .bind(user.0)
    .bind(identity.0)
    .fetch_optional(&mut *transaction)
    .await?;
    if others == Some(true) {
        sqlx::query("DELETE FROM identities WHERE id = $1").bind(identity.0).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(others)
}

/// The account of an address, unless it is kept out; and whether it has a second factor.
pub(in crate::accounts) async fn account(control: &PgPool, email: &EmailAddress) -> Result<Option<(UserId, bool)>> {
    let row: Option<(Uuid, bool)> = sqlx::query_as(
        "SELECT u.id, EXISTS (SELECT FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
         FROM users u WHERE lower(u.email) = lower($1) AND u.suspended_at IS NULL",
    )
    .bind(email.as_str())
    .fetch_optional(control)
    .await?;
    Ok(row.map(|(user, factor)| (UserId(user), factor)))
}

/// Adds a person without a password; `false` when the address has an account already.
pub(in crate::accounts) async fn insert_user(
    transaction: &mut Transaction<'static, Postgres>,
    user: UserId,
    email: &EmailAddress,
    name: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let added = sqlx::query(
        "INSERT INTO users (id, email, name, password_hash, created_at, is_operator) VALUES ($1, $2, $3, NULL, $4, false)
         ON CONFLICT (lower(email)) DO NOTHING",
    )
    .bind(user.0)
    .bind(email.as_str())
    .bind(name)
    .bind(now)
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    Ok(added == 1)
}

/// Notes that a session began with an identity.
pub(in crate::accounts) async fn mark_session(control: &PgPool, token: &TokenHash, identity: IdentityId) -> Result<()> {
    sqlx::query("UPDATE sessions SET identity_id = $2 WHERE token_hash = $1")
        .bind(token.as_bytes())
        .bind(identity.0)
        .execute(control)
        .await?;
    Ok(())
}

/// The organisations that somebody belongs to: where what concerns their account is written down.
pub(in crate::accounts) async fn tenants_of(control: &PgPool, user: UserId) -> Result<Vec<TenantId>> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT t.id FROM memberships m JOIN tenants t ON t.id = m.tenant_id AND t.state = 'active' WHERE m.user_id = $1",
    )
    .bind(user.0)
    .fetch_all(control)
    .await?;
    rows.into_iter().map(|id| id.parse()).collect()
}
