//! The SQL of vectors: which model's are searched, making them once for each text, and moving to another model's.
//!
//! What a worker writes carries its attempt number and is written only while the model is still the one that vectors
//! are wanted of. The active model is looked at under a lock that the switch takes too, so that no document can become
//! searchable with the old model's vectors after the switch.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::support::{Error, Result};

mod change;

pub(super) use change::{Begun, Claim, NewReembedding, Switch, begin, cancel, claim, latest, paused};

/// What a passage's vector is made of.
macro_rules! embedded_text {
    () => {
        "passages.context || E'\\n\\n' || passages.text"
    };
}

use embedded_text;

/// The hash under which the vector of a passage is known.
macro_rules! text_hash {
    () => {
        concat!("sha256(convert_to(", embedded_text!(), ", 'UTF8'))")
    };
}

use text_hash;

/// What a tenant's documents are searched by.
#[derive(Debug, Clone, FromRow)]
pub(super) struct ActiveRow {
    pub active: String,
    pub since: DateTime<Utc>,
    pub chosen: Option<String>,
    pub untidy: bool,
}

/// The active model, if there has been one.
pub(super) async fn active(pool: &PgPool) -> Result<Option<ActiveRow>> {
    Ok(sqlx::query_as("SELECT active, since, chosen, untidy FROM embedding_model").fetch_optional(pool).await?)
}

/// Makes `model` the active one where there has been none, and gives the one that is.
pub(super) async fn adopt(pool: &PgPool, model: &str, untidy: bool, at: DateTime<Utc>) -> Result<ActiveRow> {
    sqlx::query("INSERT INTO embedding_model (active, since, untidy) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(model)
        .bind(at)
        .bind(untidy)
        .execute(pool)
        .await?;
    active(pool).await?.ok_or_else(|| Error::internal("the active embedding model is gone"))
}

/// Whether `model` is the active one, which it then stays until the end of the transaction.
pub(in crate::knowledge) async fn is_active(connection: &mut PgConnection, model: &str) -> Result<bool> {
    let active: Option<String> =
        sqlx::query_scalar("SELECT active FROM embedding_model FOR SHARE").fetch_optional(connection).await?;
    Ok(active.as_deref() == Some(model))
}

/// A passage that lacks a vector.
#[derive(FromRow)]
pub(in crate::knowledge) struct Missing {
    pub id: Uuid,
    pub ordinal: i32,
    /// Context and text, as the model is to read them.
    pub text: String,
}

/// The next passages of a document, beginning with the ordinal `from`, that lack this model's vector.
pub(in crate::knowledge) async fn without_vector(
    pool: &PgPool,
    document: Uuid,
    model: &str,
    from: i32,
    at_most: i64,
) -> Result<Vec<Missing>> {
    Ok(sqlx::query_as(concat!(
        "SELECT passages.id, passages.ordinal, ",
        embedded_text!(),
        " AS text FROM passages
         WHERE passages.document_id = $1 AND passages.ordinal >= $4
           AND NOT EXISTS (SELECT FROM passage_vectors AS vectors
                           WHERE vectors.passage_id = passages.id AND vectors.model = $2)
         ORDER BY passages.ordinal LIMIT $3"
    ))
    .bind(document)
    .bind(model)
    .bind(at_most)
    .bind(from)
    .fetch_all(pool)
    .await?)
}

/// Gives passages the vectors that a model has made of the same texts before: the model's parameter, which passages, and
/// what follows.
macro_rules! reused_vectors {
    ($model:literal, $which:literal, $tail:literal) => {
        concat!(
            "INSERT INTO passage_vectors (passage_id, model, document_id, dimensions, embedding, text_hash)
             SELECT passages.id, ",
            $model,
            ", passages.document_id, known.dimensions, known.embedding, known.text_hash
             FROM passages
             CROSS JOIN LATERAL (
                 SELECT vectors.dimensions, vectors.embedding, vectors.text_hash FROM passage_vectors AS vectors
                 WHERE vectors.model = ",
            $model,
            " AND vectors.text_hash = ",
            text_hash!(),
            " LIMIT 1
             ) AS known
             WHERE ",
            $which,
            " ON CONFLICT DO NOTHING",
            $tail
        )
    };
}
use reused_vectors;

/// Gives the passages of a document the vectors that this model has made of the same texts before. Within a transaction
/// that holds the document.
pub(in crate::knowledge) async fn reuse(connection: &mut PgConnection, document: Uuid, model: &str) -> Result<()> {
    sqlx::query(reused_vectors!("$1", "passages.document_id = $2", ""))
        .bind(model)
        .bind(document)
        .execute(connection)
        .await?;
    Ok(())
}

/// Stores vectors of passages that are still there. Gives how many were new.
pub(in crate::knowledge) async fn insert(
    connection: &mut PgConnection,
    model: &str,
    ids: &[Uuid],
    vectors: &[Vec<f32>],
) -> Result<u64> {
    let dimensions = vectors.first().map_or(0, Vec::len);
    let texts: Vec<String> = vectors.iter().map(|vector| vector_text(vector)).collect();
    let stored = sqlx::query(concat!(
        "INSERT INTO passage_vectors (passage_id, model, document_id, dimensions, embedding, text_hash)
         SELECT passages.id, $1, passages.document_id, $2, vectors.vector::extensions.halfvec, ",
        text_hash!(),
        " FROM (SELECT passages.id, passages.document_id, passages.context, passages.text FROM passages
               WHERE passages.id = ANY ($3) ORDER BY passages.id FOR KEY SHARE) AS passages
         JOIN unnest($3::uuid[], $4::text[]) AS vectors (id, vector) ON vectors.id = passages.id
         ON CONFLICT DO NOTHING"
    ))
    .bind(model)
    .bind(i16::try_from(dimensions).map_err(Error::internal)?)
    .bind(ids)
    .bind(texts)
    .execute(connection)
    .await?;
    Ok(stored.rows_affected())
}

/// Removes some vectors of models that are neither the active one nor the one that is moved to. Gives how many.
pub(super) async fn remove_others(pool: &PgPool, at_most: i64) -> Result<u64> {
    let removed = sqlx::query(
        "DELETE FROM passage_vectors WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM passage_vectors
             WHERE model NOT IN (SELECT active FROM embedding_model)
               AND model NOT IN (SELECT model FROM reembeddings WHERE status IN ('running', 'waiting'))
             LIMIT $1))",
    )
    .bind(at_most)
    .execute(pool)
    .await?;
    Ok(removed.rows_affected())
}

/// The lengths of the vectors that there are.
pub(super) async fn dimensions(pool: &PgPool) -> Result<Vec<i16>> {
    Ok(sqlx::query_scalar("SELECT DISTINCT dimensions FROM passage_vectors ORDER BY 1").fetch_all(pool).await?)
}

/// Nothing is left over, unless the model was changed again meanwhile.
pub(super) async fn tidied(pool: &PgPool, active: &str) -> Result<()> {
    sqlx::query(
        "UPDATE embedding_model SET untidy = false
         WHERE active = $1 AND NOT EXISTS (
             SELECT FROM passage_vectors
             WHERE model <> $1 AND model NOT IN (SELECT model FROM reembeddings WHERE status IN ('running', 'waiting')))",
    )
    .bind(active)
    .execute(pool)
    .await?;
    Ok(())
}

/// pgvector's way to write a vector: `[1,0.5]`.
pub(in crate::knowledge) fn vector_text(vector: &[f32]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(vector.len() * 12 + 2);
    for number in vector {
        text.push(if text.is_empty() { '[' } else { ',' });
        // Writing to a String cannot fail.
        let _ = write!(text, "{number}");
    }
    text.push(']');
    text
}
