//! The rows of `control.second_factors`, `recovery_codes` and `pending_sign_ins`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    accounts::EmailAddress,
    support::{
        Result,
        ids::{TenantId, UserId},
    },
    vault::TokenHash,
};

/// Somebody's second factor.
pub(in crate::accounts) struct Factor {
    pub(in crate::accounts) sealed: Vec<u8>,
    pub(in crate::accounts) sealed_to: String,
    pub(in crate::accounts) confirmed_at: Option<DateTime<Utc>>,
    pub(in crate::accounts) codes_left: i64,
}

/// A sign-in whose code is still missing.
pub(in crate::accounts) struct Pending {
    pub(in crate::accounts) user: UserId,
    pub(in crate::accounts) remember: bool,
}

#[derive(FromRow)]
struct FactorRow {
    sealed: Vec<u8>,
    sealed_to: String,
    confirmed_at: Option<DateTime<Utc>>,
    codes_left: i64,
}

/// Somebody's second factor, set up or being set up.
pub(in crate::accounts) async fn find(control: &PgPool, user: UserId) -> Result<Option<Factor>> {
    let row: Option<FactorRow> = sqlx::query_as(
        "SELECT sealed, sealed_to, confirmed_at,
                (SELECT count(*) FROM recovery_codes c WHERE c.user_id = f.user_id) AS codes_left
         FROM second_factors f WHERE user_id = $1",
    )
    .bind(user.0)
    .fetch_optional(control)
    .await?;
    Ok(row.map(|row| Factor {
        sealed: row.sealed,
        sealed_to: row.sealed_to,
        confirmed_at: row.confirmed_at,
        codes_left: row.codes_left,
    }))
}

/// Begins to set one up, in place of one that was not finished. `false` when there is one already.
pub(in crate::accounts) async fn begin(
    control: &PgPool,
    user: UserId,
    sealed: &[u8],
    sealed_to: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let begun = sqlx::query(
        "INSERT INTO second_factors AS f (user_id, sealed, sealed_to, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_id) DO UPDATE SET sealed = $2, sealed_to = $3, created_at = $4, last_step = 0
             WHERE f.confirmed_at IS NULL",
    )
    .bind(user.0)
    .bind(sealed)
    .bind(sealed_to)
    .bind(now)
    .execute(control)
    .await?
    .rows_affected();
    Ok(begun == 1)
}

/// Finishes setting one up, with the step of its first code. `false` when there is nothing to finish.
pub(in crate::accounts) async fn confirm(
    transaction: &mut Transaction<'static, Postgres>,
    user: UserId,
    step: i64,
    now: DateTime<Utc>,
) -> Result<bool> {
    let confirmed = sqlx::query(
        "UPDATE second_factors SET confirmed_at = $2, last_step = $3 WHERE user_id = $1 AND confirmed_at IS NULL",
    )
    .bind(user.0)
    .bind(now)
    .bind(step)
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    Ok(confirmed == 1)
}

/// Uses up the code of a step. `false` when that one, or a newer one, has been used.
pub(in crate::accounts) async fn use_step(control: &PgPool, user: UserId, step: i64) -> Result<bool> {
    let rows = sqlx::query(
        "UPDATE second_factors SET last_step = $2 WHERE user_id = $1 AND confirmed_at IS NOT NULL AND last_step < $2",
    )
    .bind(user.0)
    .bind(step)
    .execute(control)
    .await?
    .rows_affected();
    Ok(rows == 1)
}

/// Uses up a recovery code. `false` when there is none such, or no longer.
pub(in crate::accounts) async fn use_recovery_code(control: &PgPool, user: UserId, code: &TokenHash) -> Result<bool> {
    let rows = sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2")
        .bind(user.0)
        .bind(code.as_bytes())
        .execute(control)
        .await?
        .rows_affected();
    Ok(rows == 1)
}

/// Puts new recovery codes in place of all that there are.
pub(in crate::accounts) async fn replace_codes(
    transaction: &mut Transaction<'static, Postgres>,
    user: UserId,
    codes: &[TokenHash],
) -> Result<()> {
    sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1").bind(user.0).execute(&mut **transaction).await?;
    let hashes: Vec<&[u8]> = codes.iter().map(TokenHash::as_bytes).collect();
    sqlx::query("INSERT INTO recovery_codes (user_id, code_hash) SELECT $1, unnest($2::bytea[])")
        .bind(user.0)
        .bind(hashes)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Removes somebody's second factor with its recovery codes. `false` when there was none.
pub(in crate::accounts) async fn delete(control: &PgPool, user: UserId) -> Result<bool> {
    let gone = sqlx::query("DELETE FROM second_factors WHERE user_id = $1")
        .bind(user.0)
        .execute(control)
        .await?
        .rows_affected();
    Ok(gone == 1)
}

/// Remembers that a password was right, and forgets the sign-ins that nobody finished.
pub(in crate::accounts) async fn insert_pending(
    control: &PgPool,
    token: &TokenHash,
    user: UserId,
    remember: bool,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "WITH over AS (DELETE FROM pending_sign_ins WHERE expires_at <= $4)
         INSERT INTO pending_sign_ins (token_hash, user_id, remember, expires_at) VALUES ($1, $2, $3, $5)",
    )
    .bind(token.as_bytes())
    .bind(user.0)
    .bind(remember)
    .bind(now)
    .bind(expires_at)
    .execute(control)
    .await?;
    Ok(())
}

/// A sign-in whose code is still missing, unless it is over or too many codes were wrong.
pub(in crate::accounts) async fn pending(
    control: &PgPool,
    token: &TokenHash,
    now: DateTime<Utc>,
    most_wrong: i32,
) -> Result<Option<Pending>> {
    let row: Option<(Uuid, bool)> = sqlx::query_as(
        "SELECT user_id, remember FROM pending_sign_ins
         WHERE token_hash = $1 AND expires_at > $2 AND wrong_codes < $3",
    )
    .bind(token.as_bytes())
    .bind(now)
    .bind(most_wrong)
    .fetch_optional(control)
    .await?;
    Ok(row.map(|(user, remember)| Pending { user: UserId(user), remember }))
}

/// Counts a wrong code.
pub(in crate::accounts) async fn count_wrong(control: &PgPool, token: &TokenHash) -> Result<()> {
    sqlx::query("UPDATE pending_sign_ins SET wrong_codes = wrong_codes + 1 WHERE token_hash = $1")
        .bind(token.as_bytes())
        .execute(control)
        .await?;
    Ok(())
}

/// Takes the sign-in away: it is finished. `false` when somebody else did.
pub(in crate::accounts) async fn delete_pending(control: &PgPool, token: &TokenHash) -> Result<bool> {
    let gone = sqlx::query("DELETE FROM pending_sign_ins WHERE token_hash = $1")
        .bind(token.as_bytes())
        .execute(control)
        .await?
        .rows_affected();
    Ok(gone == 1)
}

/// The organisation that somebody has belonged to for longest, if they belong to one; nothing at all when they are kept
/// out.
pub(in crate::accounts) async fn home(control: &PgPool, user: UserId) -> Result<Option<Option<TenantId>>> {
    let row: Option<Option<String>> = sqlx::query_scalar(
        "SELECT t.id
         FROM users u
         LEFT JOIN memberships m ON m.user_id = u.id AND m.suspended_at IS NULL
         LEFT JOIN tenants t ON t.id = m.tenant_id AND t.state = 'active'
         WHERE u.id = $1 AND u.suspended_at IS NULL
         ORDER BY t.id IS NULL, m.created_at, t.id
         LIMIT 1",
    )
    .bind(user.0)
    .fetch_optional(control)
    .await?;
    row.map(|tenant| tenant.map(|id| id.parse()).transpose()).transpose()
}

/// Who has this address, and every organisation that they belong to.
pub(in crate::accounts) async fn user_and_tenants(
    control: &PgPool,
    email: &EmailAddress,
) -> Result<Option<(UserId, Vec<TenantId>)>> {
    let row: Option<(Uuid, Vec<String>)> = sqlx::query_as(
        "SELECT u.id, coalesce(array_agg(t.id) FILTER (WHERE t.id IS NOT NULL), '{}')
         FROM users u
         LEFT JOIN memberships m ON m.user_id = u.id
         LEFT JOIN tenants t ON t.id = m.tenant_id AND t.state = 'active'
         WHERE lower(u.email) = lower($1) GROUP BY u.id",
    )
    .bind(email.as_str())
    .fetch_optional(control)
    .await?;
    row.map(|(user, tenants)| Ok((UserId(user), tenants.into_iter().map(|id| id.parse()).collect::<Result<Vec<_>>>()?)))
        .transpose()
}

/// Whether members must have a second factor.
pub(in crate::accounts) async fn is_required(control: &PgPool, tenant: &TenantId) -> Result<bool> {
    let required = sqlx::query_scalar("SELECT requires_second_factor FROM tenants WHERE id = $1")
        .bind(tenant.as_str())
        .fetch_one(control)
        .await?;
    Ok(required)
}

/// Sets whether members must have a second factor. `false` when it was so already.
pub(in crate::accounts) async fn require(control: &PgPool, tenant: &TenantId, required: bool) -> Result<bool> {
    let changed =
        sqlx::query("UPDATE tenants SET requires_second_factor = $2 WHERE id = $1 AND requires_second_factor <> $2")
            .bind(tenant.as_str())
            .bind(required)
            .execute(control)
            .await?
            .rows_affected();
    Ok(changed == 1)
}

/// All secrets that are not sealed to `current`, a row at a time locked until the transaction ends.
pub(in crate::accounts) async fn sealed_to_others(
    transaction: &mut Transaction<'static, Postgres>,
    current: &str,
) -> Result<Vec<(UserId, Vec<u8>, String)>> {
    let rows: Vec<(Uuid, Vec<u8>, String)> =
        sqlx::query_as("SELECT user_id, sealed, sealed_to FROM second_factors WHERE sealed_to <> $1 FOR UPDATE")
            .bind(current)
            .fetch_all(&mut **transaction)
            .await?;
    Ok(rows.into_iter().map(|(user, sealed, to)| (UserId(user), sealed, to)).collect())
}

/// Puts a secret that was sealed again in its place.
pub(in crate::accounts) async fn replace_sealed(
    transaction: &mut Transaction<'static, Postgres>,
    user: UserId,
    sealed: &[u8],
    sealed_to: &str,
) -> Result<()> {
    sqlx::query("UPDATE second_factors SET sealed = $2, sealed_to = $3 WHERE user_id = $1")
        .bind(user.0)
        .bind(sealed)
        .bind(sealed_to)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
