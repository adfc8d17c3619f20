//! How well passages are found: the Cranfield collection, with reference figures beside it.

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
    models::minilm::MiniLm,
};

use super::fixture::{Faltering, Queue, knowledge};
use crate::harness::TestDb;

/// Where the collection lies, if it is there: beside the project.
fn collection() -> Option<PathBuf> {
    let shared = std::env::var_os("AEGIS_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    Some(shared.join("data/cranfield")).filter(|folder| folder.is_dir())
}

/// The records of a file: field `.I` begins one; gives the fields named, joined.
fn records(text: &str, fields: &[&str]) -> Vec<String> {
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

/// Normalised discounted cumulative gain over the first ten, binary.
fn ndcg(found: &[usize], relevant: &HashSet<usize>) -> f64 {
    let discount = |place: usize| 1.0 / f64::from(u32::try_from(place).unwrap() + 2).log2();
    let gain: f64 =
        found.iter().enumerate().filter(|(_, id)| relevant.contains(id)).map(|(place, _)| discount(place)).sum();
    let ideal: f64 = (0..relevant.len().min(10)).map(discount).sum();
    if ideal > 0.0 { gain / ideal } else { 0.0 }
}

async fn mean_ndcg(
    knowledge: &Knowledge,
    db: &TenantDb,
    queries: &[String],
    relevant: &HashMap<usize, HashSet<usize>>,
) -> (f64, Duration) {
    let (mut sum, started) = (0.0, Instant::now());
    for (index, query) in queries.iter().enumerate() {
        let mut found: Vec<usize> = Vec::new();
        for hit in knowledge.open(db, Reader::everything()).search(query, 20).await.unwrap() {
            let id = hit.title.trim_end_matches(".txt").parse().unwrap();
            if !found.contains(&id) {
                found.push(id);
            }
        }
        found.truncate(10);
        sum += ndcg(&found, relevant.get(&(index + 1)).unwrap_or(&HashSet::new()));
    }
    let count = u32::try_from(queries.len()).unwrap();
    (sum / f64::from(count), started.elapsed() / count)
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
    let mut relevant: HashMap<usize, HashSet<usize>> = HashMap::new();
    for line in read("cranqrel").lines() {
        let numbers: Vec<i64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [query, document, code] = numbers[..] else { continue };
        if (1..=4).contains(&code) || code == -1 {
            relevant.entry(query.try_into().unwrap()).or_default().insert(document.try_into().unwrap());
        }
    }
    let gone = Faltering { inner: MiniLm::new(), calls_left: AtomicUsize::new(0), embedded: AtomicUsize::new(0) };
    let by_words = knowledge(&test, Arc::new(gone), Queue::default());
    let (fused, took) = mean_ndcg(&hybrid, &db, &queries, &relevant).await;
    let (words, words_took) = mean_ndcg(&by_words, &db, &queries, &relevant).await;
    println!("nDCG@10: both {fused:.3} in {took:?}, words alone {words:.3} in {words_took:?}");
    // The references are .556 for both and .494 for BM25; this gave .549 and .463.
    assert!(fused > 0.53, "{fused:.3}");
    assert!(words > 0.42, "{words:.3}");
}
