//! The rows of `control.api_tokens`.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::{
    accounts::{
        EmailAddress, Permission, Role, SignedIn, User, Via,
        tokens::{ApiToken, Found, TokenOwner},
    },
    support::{
        Result,
        ids::{ApiTokenId, TenantId, UserId},
    },
    tenants::Tenant,
    vault::TokenHash,
};

/// A token that is being made.
pub(in crate::accounts) struct NewRow<'a> {
    pub(in crate::accounts) id: ApiTokenId,
    pub(in crate::accounts) hash: TokenHash,
    pub(in crate::accounts) user: UserId,
    pub(in crate::accounts) tenant: &'a TenantId,
    pub(in crate::accounts) name: &'a str,
    pub(in crate::accounts) scopes: &'a [Permission],
    pub(in crate::accounts) now: DateTime<Utc>,
    pub(in crate::accounts) expires_at: Option<DateTime<Utc>>,
    /// No more than so many of the person's in this organisation.
    pub(in crate::accounts) most: i64,
}

#[derive(FromRow)]
struct FoundRow {
    token: Uuid,
    scopes: Vec<String>,
    last_used_at: Option<DateTime<Utc>>,
    user_id: Uuid,
    email: String,
    user_name: String,
    is_operator: bool,
    role: String,
    tenant: String,
    slug: String,
    tenant_name: String,
    tenant_created_at: DateTime<Utc>,
    must_enrol: bool,
}

#[derive(FromRow)]
struct TokenRow {
    id: Uuid,
    name: String,
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    user_id: Uuid,
    user_name: String,
    email: String,
}

/// A member who is not kept out, by their address, with their role.
pub(in crate::accounts) async fn owner(
    control: &PgPool,
    tenant: &TenantId,
    email: &EmailAddress,
) -> Result<Option<(User, Role)>> {
    let row: Option<(Uuid, String, String, bool, String)> = sqlx::query_as(
        "SELECT u.id, u.email, u.name, u.is_operator, m.role
         FROM users u JOIN memberships m ON m.user_id = u.id
         WHERE m.tenant_id = $1 AND lower(u.email) = lower($2) AND u.suspended_at IS NULL AND m.suspended_at IS NULL",
    )
    .bind(tenant.as_str())
    .bind(email.as_str())
    .fetch_optional(control)
    .await?;
    row.map(|(id, email, name, operator, role)| {
        Ok((User { id: UserId(id), email: email.parse()?, name, operator }, role.parse()?))
    })
    .transpose()
}

/// Adds a token; `false` when the person has as many as anybody may.
pub(in crate::accounts) async fn insert(control: &PgPool, row: &NewRow<'_>) -> Result<bool> {
    let names: Vec<&str> = row.scopes.iter().map(|scope| scope.name()).collect();
    let added = sqlx::query(
        "INSERT INTO api_tokens (id, token_hash, user_id, tenant_id, name, scopes, created_at, expires_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8
         WHERE (SELECT count(*) FROM api_tokens WHERE user_id = $3 AND tenant_id = $4) < $9",
    )
    .bind(row.id.0)
    .bind(row.hash.as_bytes())
    .bind(row.user.0)
    .bind(row.tenant.as_str())
    .bind(row.name)
    .bind(names)
    .bind(row.now)
    .bind(row.expires_at)
    .bind(row.most)
    .execute(control)
    .await?
    .rows_affected();
    Ok(added == 1)
}

/// Token, person, role and organisation at once: one that has run out, and one of which any part is suspended, is not
/// found.
pub(in crate::accounts) async fn find(control: &PgPool, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Found>> {
    let row: Option<FoundRow> = sqlx::query_as(
        "SELECT a.id AS token, a.scopes, a.last_used_at, u.id AS user_id, u.email, u.name AS user_name, u.is_operator,
                m.role, t.id AS tenant, t.slug, t.name AS tenant_name, t.created_at AS tenant_created_at,
                (t.requires_second_factor AND NOT EXISTS (SELECT FROM identities i WHERE i.user_id = u.id) AND NOT EXISTS (
                     SELECT FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
                ) AS must_enrol
         FROM api_tokens a
         JOIN users u ON u.id = a.user_id
         JOIN memberships m ON m.user_id = a.user_id AND m.tenant_id = a.tenant_id
         JOIN tenants t ON t.id = a.tenant_id
         WHERE a.token_hash = $1 AND (a.expires_at IS NULL OR a.expires_at > $2) AND t.state = 'active'
           AND u.suspended_at IS NULL AND m.suspended_at IS NULL",
    )
    .bind(hash.as_bytes())
    .bind(now)
    .fetch_optional(control)
    .await?;
    row.map(|row| {
        let id = ApiTokenId(row.token);
        let user =
            User { id: UserId(row.user_id), email: row.email.parse()?, name: row.user_name, operator: row.is_operator };
        let tenant = Tenant {
            id: row.tenant.parse()?,
            slug: row.slug.parse()?,
            name: row.tenant_name,
            created_at: row.tenant_created_at,
        };
        let via = Via::Token { id, scopes: known(&row.scopes) };
        let signed_in = SignedIn { user, via, tenant, role: row.role.parse()?, must_enrol: row.must_enrol };
        Ok(Found { id, last_used: row.last_used_at, signed_in })
    })
    .transpose()
}

/// Notes that a token is in use.
pub(in crate::accounts) async fn touch(control: &PgPool, token: ApiTokenId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "UPDATE api_tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)",
    )
    .bind(token.0)
    .bind(now)
    .execute(control)
    .await?;
    Ok(())
}

/// The tokens of an organisation, or of one person in it; the newest first.
pub(in crate::accounts) async fn list(
    control: &PgPool,
    tenant: &TenantId,
    owner: Option<UserId>,
) -> Result<Vec<ApiToken>> {
    let rows: Vec<TokenRow> = sqlx::query_as(
        "SELECT a.id, a.name, a.scopes, a.created_at, a.expires_at, a.last_used_at,
                u.id AS user_id, u.name AS user_name, u.email
         FROM api_tokens a
         JOIN users u ON u.id = a.user_id
         WHERE a.tenant_id = $1 AND ($2::uuid IS NULL OR a.user_id = $2)
         ORDER BY a.created_at DESC, a.id DESC",
    )
    .bind(tenant.as_str())
    .bind(owner.map(|owner| owner.0))
    .fetch_all(control)
    .await?;
    rows.into_iter().map(ApiToken::try_from).collect()
}

/// Removes a token of the organisation, of that person only if one is given. What it was, if it was there.
pub(in crate::accounts) async fn delete(
    control: &PgPool,
    tenant: &TenantId,
    owner: Option<UserId>,
    token: ApiTokenId,
) -> Result<Option<ApiToken>> {
    let row: Option<TokenRow> = sqlx::query_as(
        "WITH gone AS (
             DELETE FROM api_tokens WHERE tenant_id = $1 AND id = $2 AND ($3::uuid IS NULL OR user_id = $3) RETURNING *
         )
         SELECT g.id, g.name, g.scopes, g.created_at, g.expires_at, g.last_used_at,
                u.id AS user_id, u.name AS user_name, u.email
         FROM gone g JOIN users u ON u.id = g.user_id",
    )
    .bind(tenant.as_str())
    .bind(token.0)
    .bind(owner.map(|owner| owner.0))
    .fetch_optional(control)
    .await?;
    row.map(ApiToken::try_from).transpose()
}

/// Scopes of a version that knew others carry nothing here.
fn known(scopes: &[String]) -> Vec<Permission> {
    scopes.iter().filter_map(|name| name.parse().ok()).collect()
}

impl TryFrom<TokenRow> for ApiToken {
    type Error = crate::support::Error;

    fn try_from(row: TokenRow) -> Result<Self> {
        Ok(Self {
            id: ApiTokenId(row.id),
            name: row.name,
            scopes: known(&row.scopes),
            owner: TokenOwner { id: UserId(row.user_id), name: row.user_name, email: row.email.parse()? },
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        })
    }
}
