//! The SQL of collections, and the condition by which the database keeps to itself what a reader may not see.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::{Collection, CollectionDraft, Reader, Rights};
use crate::{
    accounts::Role,
    db::violates,
    support::{Error, Result, ids::CollectionId},
};

/// The collections that a reader may see, as the inside of an `IN (…)`. Takes the numbers of the two parameters that
/// [`Reader::roles`] and [`Reader::agent`] are bound to.
macro_rules! readable {
    ($roles:literal, $agent:literal) => {
        concat!(
            "SELECT id FROM collections WHERE least_role = ANY(",
            $roles,
            "::text[]) AND (",
            $agent,
            "::text IS NULL OR agents IS NULL OR ",
            $agent,
            "::text = ANY(agents))"
        )
    };
}
pub(in crate::knowledge) use readable;

#[derive(FromRow)]
struct Row {
    id: Uuid,
    name: String,
    description: String,
    least_role: String,
    agents: Option<Vec<String>>,
    is_default: bool,
    documents: i64,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Collection {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let least_role: Role = row.least_role.parse().map_err(Error::internal)?;
        Ok(Self {
            id: CollectionId(row.id),
            name: row.name,
            description: row.description,
            rights: Rights { least_role, agents: row.agents },
            is_default: row.is_default,
            documents: row.documents,
            created_at: row.created_at,
        })
    }
}

/// Those that the reader may see, or one of them.
pub(super) async fn list(pool: &PgPool, reader: &Reader, one: Option<CollectionId>) -> Result<Vec<Collection>> {
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "SELECT id, name, description, least_role, agents, is_default, created_at,
                (SELECT count(*) FROM documents
                 WHERE documents.collection_id = collections.id AND documents.status <> 'superseded') AS documents
         FROM collections
         WHERE ($3::uuid IS NULL OR id = $3) AND id IN (",
        readable!("$1", "$2"),
        ") ORDER BY is_default DESC, lower(name)"
    ))
    .bind(reader.roles())
    .bind(reader.agent())
    .bind(one.map(|id| id.0))
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Collection::try_from).collect()
}

/// The one named, or else the default, where the reader may see it.
pub(super) async fn destination(
    pool: &PgPool,
    reader: &Reader,
    named: Option<CollectionId>,
) -> Result<Option<CollectionId>> {
    let id: Option<Uuid> = sqlx::query_scalar(concat!(
        "SELECT id FROM collections WHERE CASE WHEN $3::uuid IS NULL THEN is_default ELSE id = $3 END AND id IN (",
        readable!("$1", "$2"),
        ")"
    ))
    .bind(reader.roles())
    .bind(reader.agent())
    .bind(named.map(|id| id.0))
    .fetch_optional(pool)
    .await?;
    Ok(id.map(CollectionId))
}

/// Stores a new one.
pub(super) async fn insert(pool: &PgPool, id: CollectionId, draft: &CollectionDraft, at: DateTime<Utc>) -> Result<()> {
    let inserted = sqlx::query(
        "INSERT INTO collections (id, name, description, least_role, agents, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id.0)
    .bind(&draft.name)
    .bind(&draft.description)
    .bind(draft.rights.least_role.name())
    .bind(&draft.rights.agents)
    .bind(at)
    .execute(pool)
    .await;
    unless_taken(inserted, &draft.name)
}

/// Changes one.
pub(super) async fn update(pool: &PgPool, id: CollectionId, draft: &CollectionDraft) -> Result<()> {
    let updated =
        sqlx::query("UPDATE collections SET name = $2, description = $3, least_role = $4, agents = $5 WHERE id = $1")
            .bind(id.0)
            .bind(&draft.name)
            .bind(&draft.description)
            .bind(draft.rights.least_role.name())
            .bind(&draft.rights.agents)
            .execute(pool)
            .await;
    unless_taken(updated, &draft.name)
}

/// Deletes one that has no documents. `false` when it has some. A document that comes meanwhile holds the collection's
/// row, so that one of the two fails.
pub(super) async fn delete_empty(pool: &PgPool, id: CollectionId) -> Result<bool> {
    let deleted =
        sqlx::query("DELETE FROM collections WHERE id = $1 AND NOT is_default").bind(id.0).execute(pool).await;
    match deleted {
        Err(error) if violates(&error, "documents_collection_id_fkey") => Ok(false),
        other => Ok(other?.rows_affected() == 1),
    }
}

fn unless_taken(done: sqlx::Result<sqlx::postgres::PgQueryResult>, name: &str) -> Result<()> {
    match done {
        Err(error) if violates(&error, "collections_name_key") => {
            Err(Error::conflict(format!("There is a collection called {name} already")).remedy("choose another name"))
        }
        other => Ok(other.map(drop)?),
    }
}
