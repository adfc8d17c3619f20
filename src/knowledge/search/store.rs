//! The SQL of search. What is searched is settled first (by the reader's rights and by the filters), and the search
//! itself sees those documents alone.

use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use super::{Filter, Hit, Why};
use crate::{
    knowledge::{
        collections::{Reader, store::readable},
        document::Passage,
        embedding::store::vector_text,
        language,
        store::{PassageRow, named},
    },
    support::Result,
};

/// Up to so many passages every vector is looked at; the index would be no faster and might miss some.
const EXACT_PASSAGES: i64 = 10_000;
/// Up to so many documents their vectors are fetched, instead of leaving all others out.
const FEW_DOCUMENTS: usize = 1000;

/// A search of both kinds.
pub(super) struct Search<'a> {
    pub question: &'a str,
    /// Absent when no vector could be had; then words alone decide.
    pub vector: Option<&'a [f32]>,
    pub model: &'a str,
    pub limit: i64,
}

/// What is searched.
#[derive(FromRow)]
struct Scope {
    documents: Vec<Uuid>,
    languages: Vec<String>,
    passages: i64,
}

#[derive(FromRow)]
struct HitRow {
    #[sqlx(flatten)]
    passage: PassageRow,
    title: String,
    folder: String,
    media_type: String,
    version: i32,
    collection: String,
    score: f32,
    near_place: Option<i64>,
    distance: Option<f32>,
    word_place: Option<i64>,
    rank: Option<f32>,
    words: Vec<String>,
}

impl From<HitRow> for Hit {
    fn from(row: HitRow) -> Self {
        Self {
            passage: Passage::from(row.passage),
            title: row.title,
            folder: row.folder,
            media_type: row.media_type,
            version: row.version,
            collection: row.collection,
            score: row.score,
            why: Why {
                meaning: row.near_place.zip(row.distance).map(|(place, distance)| (place, 1.0 - distance)),
                words: row.word_place.zip(row.rank),
                matched: row.words.iter().map(|query| spelled(query)).collect(),
            },
            same: Vec::new(),
        }
    }
}

/// `'leav' | 'leaves'` as `leav, leaves`.
fn spelled(query: &str) -> String {
    let lexemes = query.split(" | ").map(|lexeme| lexeme.trim_matches('\''));
    lexemes.collect::<Vec<_>>().join(", ").replace("''", "'").replace("\\\\", "\\")
}

/// The best passages of ready documents that the reader may see and the filter lets through, best first.
pub(super) async fn search(pool: &PgPool, reader: &Reader, filter: &Filter, search: &Search<'_>) -> Result<Vec<Hit>> {
    let mut transaction = pool.begin().await?;
    let scope = scope(&mut transaction, reader, filter).await?;
    if scope.documents.is_empty() {
        return Ok(Vec::new());
    }
    // The number of dimensions must stand in the text, for the index to be recognised.
    let is_exact = scope.passages <= EXACT_PASSAGES;
    let dimensions = search.vector.map_or(1, <[f32]>::len);
    let sql = include_str!("search.sql")
        .replace("{d}", &dimensions.to_string())
        .replace("{exact}", if is_exact { "+ 0" } else { "" })
        .replace("{filter}", if is_exact && scope.documents.len() <= FEW_DOCUMENTS { "" } else { "IS TRUE" });
    // Recall .98 at 100,000 passages; the scan goes on when hits are filtered out.
    sqlx::raw_sql(
        "SET LOCAL hnsw.ef_search = 100; SET LOCAL hnsw.iterative_scan = strict_order;
         SET LOCAL hnsw.max_scan_tuples = 100000",
    )
    .execute(&mut *transaction)
    .await?;
    let rows: Vec<HitRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(search.vector.map(vector_text))
        .bind(search.question)
        .bind(language::plain(search.question))
        .bind(search.model)
        .bind(search.limit)
        .bind(scope.documents)
        .bind(scope.languages)
        .bind(scope.passages)
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(rows.into_iter().map(Hit::from).collect())
}

async fn scope(connection: &mut PgConnection, reader: &Reader, filter: &Filter) -> Result<Scope> {
    let ids = |given: &[Uuid]| (!given.is_empty()).then(|| given.to_vec());
    let collections: Vec<Uuid> = filter.collections.iter().map(|id| id.0).collect();
    let documents: Vec<Uuid> = filter.documents.iter().map(|id| id.0).collect();
    Ok(sqlx::query_as(concat!(
        "SELECT coalesce(array_agg(id), '{}') AS documents,
                coalesce(array_agg(DISTINCT language) FILTER (WHERE language IS NOT NULL), '{}') AS languages,
                coalesce(sum(total), 0)::bigint AS passages
         FROM documents
         WHERE status = 'ready'
           AND ($3::uuid[] IS NULL OR collection_id = ANY($3))
           AND ($4::uuid[] IS NULL OR series IN (SELECT named.series FROM documents AS named WHERE named.id = ANY($4)))
           AND ($5::text[] IS NULL OR media_type = ANY($5))
           AND ($6 = '' OR strpos(lower(folder || '/' || file_name), $6) > 0)
           AND collection_id IN (",
        readable!("$1", "$2"),
        ")"
    ))
    .bind(reader.roles())
    .bind(reader.agent())
    .bind(ids(&collections))
    .bind(ids(&documents))
    .bind((!filter.kinds.is_empty()).then(|| filter.kinds.iter().map(|kind| kind.media_type()).collect::<Vec<_>>()))
    .bind(named(&filter.name))
    .fetch_one(connection)
    .await?)
}
