//! The index of vectors against looking at every vector, in the product's own search. How to run it, and what it says,
//! stands in `tests/bench/README.md`.

use std::{collections::HashSet, fs};

use aegis::models::{embedding::EmbeddingModel as _, minilm::MiniLm};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use super::quality::{collection, records};
use crate::harness::TestDb;

const HITS: usize = 10;
/// Passages of a document.
const PASSAGES: usize = 10;
/// What every search sets; see `src/knowledge/search/store.rs`.
const SETTINGS: &str =
    "SET hnsw.ef_search = 100; SET hnsw.iterative_scan = strict_order; SET hnsw.max_scan_tuples = 100000";

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    /// From 0 to 65,535.
    fn roll(&mut self) -> u16 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u16::try_from(self.0 >> 48).expect("16 bits")
    }

    fn unit(&mut self) -> f32 {
        f32::from(self.roll()) / 65_536.0
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).expect("a count"))
}

fn written(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(|number| format!("{number:.5}")).collect();
    format!("[{}]", numbers.join(","))
}

/// Milliseconds of CPU that the server's process for this connection has used.
fn cpu(backend: i32) -> f64 {
    let told = fs::read_to_string(format!("/proc/{backend}/schedstat")).expect("the server runs here");
    told.split(' ').next().expect("a number").parse::<f64>().expect("a number") / 1e6
}

/// The vectors of Cranfield's sentences, and of its questions.
async fn real() -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let folder = collection().expect("the Cranfield collection is at ../shared/data/cranfield");
    let read = |name: &str| String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap()).into_owned();
    let abstracts = records(&read("cran.all.1400"), &[".W"]);
    let sentences = abstracts.iter().flat_map(|text| text.split(" .")).map(|sentence| sentence.trim().to_owned());
    let sentences: Vec<String> = sentences.filter(|sentence| sentence.len() > 40).collect();
    let model = MiniLm::new();
    let mut vectors = Vec::new();
    for batch in sentences.chunks(64) {
        vectors.extend(model.embed(batch).await.unwrap());
    }
    let mut questions = Vec::new();
    for question in records(&read("cran.qry"), &[".W"]) {
        questions.push(model.embed_query(&question).await.unwrap());
    }
    (vectors, questions)
}

/// As many vectors as are asked for: the real ones first, then such as lie between two of them.
fn corpus(real: &[Vec<f32>], passages: usize) -> Vec<Vec<f32>> {
    let mut dice = Dice(42);
    let mut vectors: Vec<Vec<f32>> = real.iter().take(passages).cloned().collect();
    while vectors.len() < passages {
        let mut one = || &real[(usize::from(dice.roll()) << 8 ^ usize::from(dice.roll())) % real.len()];
        let (a, b) = (one(), one());
        let share = dice.unit();
        let between: Vec<f32> = a.iter().zip(b).map(|(a, b)| a * share + b * (1.0 - share)).collect();
        let length = between.iter().map(|value| value * value).sum::<f32>().sqrt();
        vectors.push(between.into_iter().map(|value| value / length).collect());
    }
    vectors
}

async fn fill(connection: &mut PgConnection, vectors: &[Vec<f32>]) {
    sqlx::raw_sql(
        "DELETE FROM documents; DELETE FROM originals; INSERT INTO originals (sha256, bytes) VALUES ('a', 1);
         DROP INDEX IF EXISTS passage_vectors_384_idx",
    )
    .execute(&mut *connection)
    .await
    .unwrap();
    let documents = i32::try_from(vectors.len() / PASSAGES).unwrap();
    sqlx::query(
        "INSERT INTO documents (id, collection_id, series, file_name, media_type, bytes, sha256, status, total, language, added_by, created_at)
         SELECT made.id, (SELECT id FROM collections), made.id, made.id::text, 'text/plain', 1, 'a', $2, $3, 'english', '{}', now()
         FROM (SELECT lpad(to_hex(number), 32, '0')::uuid AS id FROM generate_series(1, $1) AS number) AS made",
    )
    .bind(documents)
    // So that the same bytes may be in the collection many times.
    .bind("superseded")
    .bind(i32::try_from(PASSAGES).unwrap())
    .execute(&mut *connection)
    .await
    .unwrap();
    for (block, vectors) in vectors.chunks(1000).enumerate() {
        let numbers: Vec<i32> = (0..vectors.len()).map(|at| i32::try_from(block * 1000 + at).unwrap()).collect();
        let ids: Vec<Uuid> =
            numbers.iter().map(|number| Uuid::from_u128(u128::try_from(*number).unwrap() + 1)).collect();
        sqlx::query(
            "WITH made AS (
                 SELECT id, number, vector, lpad(to_hex(number / $4 + 1), 32, '0')::uuid AS document
                 FROM unnest($1::uuid[], $2::integer[], $3::text[]) AS made (id, number, vector)),
             new AS (
                 INSERT INTO passages (id, document_id, ordinal, locator, context, text, searchable)
                 SELECT id, document, number % $4, '', '', '', '' FROM made RETURNING id)
             INSERT INTO passage_vectors (passage_id, model, document_id, dimensions, embedding, text_hash)
             SELECT id, 'bench', document, 384, vector::extensions.halfvec, '' FROM made",
        )
        .bind(&ids)
        .bind(&numbers)
        .bind(vectors.iter().map(|vector| written(vector)).collect::<Vec<_>>())
        .bind(i32::try_from(PASSAGES).unwrap())
        .execute(&mut *connection)
        .await
        .unwrap();
    }
}

/// The product's search by meaning alone, among the first of the documents.
struct Search<'a> {
    questions: &'a [Vec<f32>],
    documents: usize,
    exact: bool,
}

impl Search<'_> {
    /// The nearest passages to each question, and milliseconds of CPU for one.
    async fn run(&self, connection: &mut PgConnection, backend: i32) -> (Vec<Vec<Uuid>>, f64) {
        let sql = include_str!("../../../src/knowledge/search/search.sql").replace("{d}", "384");
        let sql = sql.replace("{exact}", if self.exact { "+ 0" } else { "" });
        let sql = sql.replace("{filter}", if self.exact && self.documents <= 1000 { "" } else { "IS TRUE" });
        let within: Vec<Uuid> =
            (1..=self.documents).map(|number| Uuid::from_u128(u128::try_from(number).unwrap())).collect();
        let (mut found, mut before) = (Vec::new(), 0.0);
        // The first ones warm the cache and the plan.
        let warm = self.questions.iter().take(10);
        for (turn, question) in warm.chain(self.questions).enumerate() {
            if turn == 10 {
                found.clear();
                before = cpu(backend);
            }
            let ids: Vec<(Uuid,)> = sqlx::query_as(AssertSqlSafe(format!("SELECT id FROM ({sql}) AS found")))
                .bind(written(question))
                .bind("")
                .bind("")
                .bind("bench")
                .bind(i64::try_from(HITS).unwrap())
                .bind(&within)
                .bind(vec!["english"])
                .bind(i64::try_from(self.documents * PASSAGES).unwrap())
                .fetch_all(&mut *connection)
                .await
                .unwrap();
            found.push(ids.into_iter().map(|(id,)| id).collect());
        }
        (found, (cpu(backend) - before) / count(self.questions.len()))
    }
}

fn recall(wanted: &[Vec<Uuid>], found: &[Vec<Uuid>]) -> f64 {
    let right = wanted.iter().zip(found).map(|(wanted, found)| {
        let wanted: HashSet<_> = wanted.iter().collect();
        found.iter().filter(|id| wanted.contains(id)).count()
    });
    count(right.sum()) / count(wanted.len() * HITS)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark, run by hand: tests/bench/README.md"]
async fn the_index_of_vectors_against_looking_at_all() {
    let test = TestDb::new().await;
    let (tenant, db) = test.tenant("acme").await;
    let mut connection = test.superuser().await;
    let path = format!(
        "SET search_path TO {}, extensions; SET max_parallel_workers_per_gather = 0; {SETTINGS}",
        db.tenant().schema()
    );
    sqlx::raw_sql(AssertSqlSafe(path)).execute(&mut connection).await.unwrap();
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    let (real, questions) = real().await;
    println!("{} sentences and {} questions of Cranfield", real.len(), questions.len());
    for passages in [10_000, 100_000] {
        let vectors = corpus(&real, passages);
        fill(&mut connection, &vectors).await;
        // Made after the vectors, as a change of the model makes it.
        test.databases.index_vectors(&tenant.id, &[384]).await.unwrap();
        sqlx::raw_sql("ANALYZE passages; ANALYZE passage_vectors; ANALYZE documents")
            .execute(&mut connection)
            .await
            .unwrap();
        let size: i64 = sqlx::query_scalar("SELECT pg_relation_size('passage_vectors_384_idx')")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        println!("{passages} passages; the index has {} MiB", size >> 20);
        for percent in [1, 10, 20, 50, 100] {
            let documents = passages / PASSAGES * percent / 100;
            let mut search = Search { questions: &questions, documents, exact: true };
            let (wanted, exact) = search.run(&mut connection, backend).await;
            search.exact = false;
            let (found, index) = search.run(&mut connection, backend).await;
            println!(
                "  {percent:>3} % of the documents: all looked at {exact:.2} ms of CPU, index {index:.2} ms, 1/{:.1}; \
                 recall@{HITS} {:.3}",
                exact / index,
                recall(&wanted, &found)
            );
        }
    }
    connection.close().await.unwrap();
}
