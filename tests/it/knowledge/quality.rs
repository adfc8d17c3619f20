//! How well passages are found: the Cranfield collection, by words, by meaning and by both, with reference figures beside
//! it.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::PathBuf,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use aegis::{
    audit::Actor,
    db::TenantDb,
    knowledge::{Knowledge, Reader, Upload},
    models::{embedding::EmbeddingModel as _, minilm::MiniLm},
};

use super::fixture::{Faltering, Queue, knowledge};
use crate::harness::TestDb;

/// Where the collection lies, if it is there: beside the project.
pub fn collection() -> Option<PathBuf> {
    let shared = std::env::var_os("AEGIS_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    Some(shared.join("data/cranfield")).filter(|folder| folder.is_dir())
}

/// The records of a file: field `.I` begins one; gives the fields named, joined.
pub fn records(text: &str, fields: &[&str]) -> Vec<String> {
    let (mut records, mut field) = (Vec::new(), "");
    for line in text.lines() {
        if line.starts_with(".I ") {
            records.push(String::new());
            field = "";
        } else if line.starts_with('.') && line.trim().len() == 2 {
            field = line.trim();
        } else if fields.contains(&field)
            && let Some(record) = records.last_mut()
        {
            record.push_str(line);
            record.push('\n');
        }
    }
    records
}

/// The documents that fit each question, both counted from 1.
pub fn judgements(text: &str) -> HashMap<usize, HashSet<usize>> {
    let mut relevant: HashMap<usize, HashSet<usize>> = HashMap::new();
    for line in text.lines() {
        let numbers: Vec<i64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [query, document, code] = numbers[..] else { continue };
        if (1..=4).contains(&code) || code == -1 {
            relevant.entry(query.try_into().unwrap()).or_default().insert(document.try_into().unwrap());
        }
    }
    relevant
}

/// Normalised discounted cumulative gain over the first ten, binary.
pub fn ndcg(found: &[usize], relevant: &HashSet<usize>) -> f64 {
    let discount = |place: usize| 1.0 / f64::from(u32::try_from(place).unwrap() + 2).log2();
    let gain: f64 =
        found.iter().enumerate().filter(|(_, id)| relevant.contains(id)).map(|(place, _)| discount(place)).sum();
    let ideal: f64 = (0..relevant.len().min(10)).map(discount).sum();
    if ideal > 0.0 { gain / ideal } else { 0.0 }
}

/// The share of what is relevant that is among the first ten.
fn recall(found: &[usize], relevant: &HashSet<usize>) -> f64 {
    let hits = found.iter().filter(|id| relevant.contains(id)).count();
    let count = |number: usize| f64::from(u32::try_from(number).unwrap());
    if relevant.is_empty() { 0.0 } else { count(hits) / count(relevant.len()) }
}

/// A way to find documents, the best first.
enum Way<'a> {
    Search(&'a Knowledge),
    Meaning(&'a MiniLm),
}

impl Way<'_> {
    async fn find(&self, db: &TenantDb, query: &str) -> Vec<usize> {
        let titles: Vec<String> = match self {
            Self::Search(knowledge) => {
                let hits = knowledge.open(db, Reader::everything()).search(query, 20).await.unwrap();
                hits.into_iter().map(|hit| hit.title).collect()
            }
            Self::Meaning(model) => {
                let vector = model.embed_query(query).await.unwrap();
                let numbers: Vec<String> = vector.iter().map(ToString::to_string).collect();
                sqlx::query_scalar(
                    "SELECT file_name FROM passage_vectors JOIN documents ON documents.id = document_id
                     ORDER BY embedding OPERATOR(extensions.<=>) $1::text::extensions.halfvec LIMIT 20",
                )
                .bind(format!("[{}]", numbers.join(",")))
                .fetch_all(db.pool())
                .await
                .unwrap()
            }
        };
        let mut found: Vec<usize> = Vec::new();
        for title in titles {
            let id = title.trim_end_matches(".txt").parse().unwrap();
            if !found.contains(&id) {
                found.push(id);
            }
        }
        found.truncate(10);
        found
    }

    /// Means of nDCG@10 and recall@10 over all queries, and how long one took.
    async fn measured(
        &self,
        db: &TenantDb,
        queries: &[String],
        relevant: &HashMap<usize, HashSet<usize>>,
    ) -> (f64, f64, Duration) {
        let (mut gain, mut recalled, started) = (0.0, 0.0, Instant::now());
        let none = HashSet::new();
        for (index, query) in queries.iter().enumerate() {
            let found = self.find(db, query).await;
            let relevant = relevant.get(&(index + 1)).unwrap_or(&none);
            gain += ndcg(&found, relevant);
            recalled += recall(&found, relevant);
        }
        let count = u32::try_from(queries.len()).unwrap();
        (gain / f64::from(count), recalled / f64::from(count), started.elapsed() / count)
    }
}

#[tokio::test]
#[ignore = "embeds 1,400 abstracts, which takes minutes; run it by name when search changes"]
async fn searching_cranfield_is_as_good_as_the_reference() {
    let Some(folder) = collection() else { panic!("the Cranfield collection is not at ../shared/data/cranfield") };
    let read = |name: &str| String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap()).into_owned();
    let test = TestDb::new().await;
    let (_, db) = test.tenant("acme").await;
    let hybrid = knowledge(&test, Arc::new(MiniLm::new()), Queue::default());
    for (index, text) in records(&read("cran.all.1400"), &[".T", ".W"]).into_iter().enumerate() {
        let upload = Upload::new(format!("{}.txt", index + 1), text.into_bytes(), Actor::Operator);
        let added = hybrid.open(&db, Reader::everything()).add(upload).await.unwrap();
        hybrid.ingest(&db, added.document.id).await.unwrap();
    }
    let queries = records(&read("cran.qry"), &[".W"]);
    let relevant = judgements(&read("cranqrel"));
    let gone = Faltering { inner: MiniLm::new(), calls_left: AtomicUsize::new(0), embedded: AtomicUsize::new(0) };
    let by_words = knowledge(&test, Arc::new(gone), Queue::default());
    let model = MiniLm::new();
    let mut figures = Vec::new();
    for (name, way) in [
        ("words alone", Way::Search(&by_words)),
        ("meaning alone", Way::Meaning(&model)),
        ("both", Way::Search(&hybrid)),
    ] {
        let (gain, recalled, took) = way.measured(&db, &queries, &relevant).await;
        println!("{name:<14} nDCG@10 {gain:.3}  recall@10 {recalled:.3}  {took:?} a query");
        figures.push((gain, recalled));
    }
    let [words, meaning, both] = figures[..] else { unreachable!("three ways") };
    assert!(both.0 > words.0 && both.0 > meaning.0, "both beat each");
    assert!(both.1 > words.1 && both.1 > meaning.1, "both beat each");
    // The references are .556 for both and .494 for BM25.
    assert!(both.0 > 0.53 && words.0 > 0.42, "{both:?} {words:?}");
}
