//! The SQL of documents: what is stored, what a reader sees of it, how it goes. Every question carries the reader, and
//! what they may not see is not given out by the database.

use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt};
use sqlx::{FromRow, PgPool};
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use super::{
    collections::{Reader, store::readable},
    document::{Document, Documents, Listing, Passage, Status},
};
use crate::support::{
    Error, Result,
    ids::{CollectionId, DocumentId, PassageId},
};

/// Documents that the reader bound to $1 (roles) and $2 (agent) may see.
macro_rules! documents {
    ($tail:literal) => {
        concat!(
            "SELECT documents.id, file_name, folder, collection_id, collections.name AS collection_name, series, version, ",
            "superseded_at, media_type, bytes, sha256, language, status, error, done, total, pages, ",
            "documents.created_at, ready_at ",
            "FROM documents JOIN collections ON collections.id = documents.collection_id ",
            "WHERE collection_id IN (",
            readable!("$1", "$2"),
            ") ",
            $tail
        )
    };
}

#[derive(FromRow)]
struct DocumentRow {
    id: Uuid,
    file_name: String,
    folder: String,
    collection_id: Uuid,
    collection_name: String,
    series: Uuid,
    version: i32,
    superseded_at: Option<DateTime<Utc>>,
    media_type: String,
    bytes: i64,
    sha256: Vec<u8>,
    language: Option<String>,
    status: String,
    error: Option<String>,
    done: i32,
    total: i32,
    pages: Option<i32>,
    created_at: DateTime<Utc>,
    ready_at: Option<DateTime<Utc>>,
}

impl TryFrom<DocumentRow> for Document {
    type Error = Error;

    fn try_from(row: DocumentRow) -> Result<Self> {
        Ok(Self {
            id: DocumentId(row.id),
            title: row.file_name,
            folder: row.folder,
            collection: CollectionId(row.collection_id),
            collection_name: row.collection_name,
            series: DocumentId(row.series),
            version: row.version,
            superseded_at: row.superseded_at,
            media_type: row.media_type,
            bytes: row.bytes,
            sha256: hex::encode(row.sha256),
            language: row.language,
            status: Status::from_name(&row.status)?,
            error: row.error,
            progress: (row.done, row.total),
            passages: row.total,
            pages: row.pages,
            created_at: row.created_at,
            ready_at: row.ready_at,
        })
    }
}

#[derive(FromRow)]
pub(super) struct PassageRow {
    id: Uuid,
    document_id: Uuid,
    ordinal: i32,
    locator: String,
    page: Option<i32>,
    text: String,
}

impl From<PassageRow> for Passage {
    fn from(row: PassageRow) -> Self {
        Self {
            id: PassageId(row.id),
            document: DocumentId(row.document_id),
            ordinal: row.ordinal,
            locator: row.locator,
            page: row.page,
            text: row.text,
        }
    }
}

/// A part of a name as it is looked for: without regard to case and without wildcards, as names are kept.
pub(super) fn named(part: &str) -> String {
    part.nfc().filter(|c| !c.is_control()).collect::<String>().to_lowercase()
}

/// A page of documents, without older versions, the newest first; the sums over all pages.
pub(super) async fn list(pool: &PgPool, reader: &Reader, listing: &Listing) -> Result<Documents> {
    let name = (!listing.name.is_empty()).then(|| named(&listing.name));
    let rows: Vec<DocumentRow> = sqlx::query_as(documents!(
        "AND status <> 'superseded' AND ($3::uuid IS NULL OR collection_id = $3)
         AND ($4::text IS NULL OR strpos(lower(folder || '/' || file_name), $4) > 0)
         ORDER BY documents.created_at DESC, documents.id DESC LIMIT $5 OFFSET $6"
    ))
    .bind(reader.roles())
    .bind(reader.agent())
    .bind(listing.collection.map(|id| id.0))
    .bind(&name)
    .bind(i64::from(Listing::PAGE))
    .bind(i64::from(listing.page) * i64::from(Listing::PAGE))
    .fetch_all(pool)
    .await?;
    let (total, passages, unfinished, failed) = sqlx::query_as(concat!(
        "SELECT count(*), coalesce(sum(total), 0)::bigint,
                count(*) FILTER (WHERE status IN ('queued', 'reading', 'embedding')),
                count(*) FILTER (WHERE status = 'failed')
         FROM documents
         WHERE status <> 'superseded' AND ($3::uuid IS NULL OR collection_id = $3)
           AND ($4::text IS NULL OR strpos(lower(folder || '/' || file_name), $4) > 0) AND collection_id IN (",
        readable!("$1", "$2"),
        ")"
    ))
    .bind(reader.roles())
    .bind(reader.agent())
    .bind(listing.collection.map(|id| id.0))
    .bind(&name)
    .fetch_one(pool)
    .await?;
    let documents = rows.into_iter().map(Document::try_from).collect::<Result<_>>()?;
    Ok(Documents { documents, total, passages, unfinished, failed })
}

/// How many documents can be searched, and the titles of the newest of them.
pub(super) async fn newest(pool: &PgPool, reader: &Reader, titles: usize) -> Result<(usize, Vec<String>)> {
    let (count, titles): (i64, Vec<String>) = sqlx::query_as(concat!(
        "WITH found AS (SELECT id, file_name, created_at FROM documents WHERE status = 'ready' AND collection_id IN (",
        readable!("$1", "$2"),
        "))
         SELECT (SELECT count(*) FROM found),
                ARRAY(SELECT file_name FROM found ORDER BY created_at DESC, id DESC LIMIT $3)"
    ))
    .bind(reader.roles())
    .bind(reader.agent())
    .bind(i64::try_from(titles).unwrap_or(i64::MAX))
    .fetch_one(pool)
    .await?;
    Ok((usize::try_from(count).unwrap_or_default(), titles))
}

/// One document, in whatever version.
pub(super) async fn document(pool: &PgPool, reader: &Reader, id: DocumentId) -> Result<Option<Document>> {
    let row: Option<DocumentRow> = sqlx::query_as(documents!("AND documents.id = $3"))
        .bind(reader.roles())
        .bind(reader.agent())
        .bind(id.0)
        .fetch_optional(pool)
        .await?;
    row.map(Document::try_from).transpose()
}

/// All versions of a document, the newest first.
pub(super) async fn versions(pool: &PgPool, reader: &Reader, series: DocumentId) -> Result<Vec<Document>> {
    let rows: Vec<DocumentRow> = sqlx::query_as(documents!(
        "AND series = $3 AND status IN ('ready', 'superseded') AND total > 0 ORDER BY version DESC, documents.created_at DESC"
    ))
    .bind(reader.roles())
    .bind(reader.agent())
    .bind(series.0)
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Document::try_from).collect()
}

/// The ids of all versions of a document, those that cannot be opened too.
pub(super) async fn series(pool: &PgPool, series: DocumentId) -> Result<Vec<DocumentId>> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM documents WHERE series = $1").bind(series.0).fetch_all(pool).await?;
    Ok(ids.into_iter().map(DocumentId).collect())
}

/// Some versions whose place was taken before `moment`.
pub(super) async fn superseded_before(pool: &PgPool, moment: DateTime<Utc>) -> Result<Vec<DocumentId>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM documents WHERE status = 'superseded' AND superseded_at < $1 ORDER BY superseded_at LIMIT 100",
    )
    .bind(moment)
    .fetch_all(pool)
    .await?;
    Ok(ids.into_iter().map(DocumentId).collect())
}

/// The original, part by part. Whether it may be read is asked before.
pub(super) fn original(pool: &PgPool, id: DocumentId) -> impl Stream<Item = Result<Vec<u8>>> + use<> {
    let pool = pool.clone();
    futures::stream::unfold((pool, 0_i32), move |(pool, part)| async move {
        let next: std::result::Result<Option<Vec<u8>>, sqlx::Error> = sqlx::query_scalar(
            "SELECT parts.bytes FROM original_parts AS parts JOIN documents USING (sha256)
             WHERE documents.id = $1 AND parts.part = $2",
        )
        .bind(id.0)
        .bind(part)
        .fetch_optional(&pool)
        .await;
        next.transpose().map(|bytes| (bytes, (pool, part + 1)))
    })
    .map_err(Error::from)
}

/// Deletes versions of a document with everything that came of them, and the originals that nobody else has.
pub(super) async fn delete(pool: &PgPool, ids: &[DocumentId]) -> Result<u64> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let mut transaction = pool.begin().await?;
    // The originals first, as whoever stores one does: the same bytes cannot come and go at once.
    let originals: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT sha256 FROM originals WHERE sha256 IN (SELECT sha256 FROM documents WHERE id = ANY($1))
         ORDER BY sha256 FOR UPDATE",
    )
    .bind(&ids)
    .fetch_all(&mut *transaction)
    .await?;
    // In one order, as whoever gives passages of several their vectors takes them.
    sqlx::query("SELECT FROM documents WHERE id = ANY($1) ORDER BY id FOR UPDATE")
        .bind(&ids)
        .execute(&mut *transaction)
        .await?;
    let deleted = sqlx::query("DELETE FROM documents WHERE id = ANY($1)").bind(&ids).execute(&mut *transaction).await?;
    sqlx::query(
        "DELETE FROM originals WHERE sha256 = ANY($1)
         AND NOT EXISTS (SELECT FROM documents WHERE documents.sha256 = originals.sha256)",
    )
    .bind(originals)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(deleted.rows_affected())
}

/// A document's passages in order.
pub(super) async fn passages(
    pool: &PgPool,
    reader: &Reader,
    document: DocumentId,
    from: i32,
    to: i32,
) -> Result<Vec<Passage>> {
    let rows: Vec<PassageRow> = sqlx::query_as(concat!(
        "SELECT passages.id, document_id, ordinal, locator, page, text
         FROM passages JOIN documents ON documents.id = passages.document_id
         WHERE document_id = $3 AND ordinal BETWEEN $4 AND $5 AND collection_id IN (",
        readable!("$1", "$2"),
        ") ORDER BY ordinal"
    ))
    .bind(reader.roles())
    .bind(reader.agent())
    .bind(document.0)
    .bind(from)
    .bind(to)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(Passage::from).collect())
}

/// One passage.
pub(super) async fn passage(pool: &PgPool, reader: &Reader, id: PassageId) -> Result<Option<Passage>> {
    let row: Option<PassageRow> = sqlx::query_as(concat!(
        "SELECT passages.id, document_id, ordinal, locator, page, text
         FROM passages JOIN documents ON documents.id = passages.document_id
         WHERE passages.id = $3 AND collection_id IN (",
        readable!("$1", "$2"),
        ")"
    ))
    .bind(reader.roles())
    .bind(reader.agent())
    .bind(id.0)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Passage::from))
}
