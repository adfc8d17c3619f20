//! Documents on their way through the queue.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use aegis::{
    audit::Actor,
    db::TenantDb,
    jobs::{Jobs, Settings},
    knowledge::{
        Document, Knowledge, Reader, Status, Upload,
        jobs::{IngestDocument, Ingester, resume},
    },
    models::{chat::ModelError, embedding::EmbeddingModel, minilm::MiniLm},
    support::{Result, ids::DocumentId},
};
use async_trait::async_trait;

use super::{
    files,
    fixture::{Faltering, Queue, knowledge},
};
use crate::harness::TestDb;

/// Short times, so that a test takes seconds.
const QUICK: Settings = Settings {
    heartbeat: Duration::from_secs(1),
    missed_heartbeats: 6,
    poll: Duration::from_millis(50),
    backoff: Duration::from_millis(200),
};

async fn until(knowledge: &Knowledge, db: &TenantDb, id: DocumentId, reached: impl Fn(&Document) -> bool) -> Document {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let document = knowledge.open(db, Reader::everything()).document(id).await.unwrap().unwrap();
        if reached(&document) {
            return document;
        }
        assert!(Instant::now() < deadline, "not reached: {document:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn add(knowledge: &Knowledge, db: &TenantDb, file_name: &str, bytes: Vec<u8>) -> DocumentId {
    let upload = Upload::new(file_name.to_owned(), bytes, Actor::Operator);
    knowledge.open(db, Reader::everything()).add(upload).await.unwrap().document.id
}

#[tokio::test]
async fn an_upload_becomes_searchable_by_itself_and_a_bad_one_fails_beside_it() {
    let test = TestDb::new().await;
    let (_, db) = test.tenant("acme").await;
    let jobs = Jobs::new(&test.databases, QUICK);
    let knowledge = knowledge(&test, Arc::new(MiniLm::new()), jobs.queue::<IngestDocument>());
    jobs.work(2, Ingester::new(test.databases.clone(), knowledge.clone()));
    let bad = add(&knowledge, &db, "locked.pdf", files::locked_pdf()).await;
    let good = add(&knowledge, &db, "a.md", b"# Cats\n\nCats sleep most of the day.".to_vec()).await;
    assert_eq!(until(&knowledge, &db, good, |document| document.status.is_final()).await.status, Status::Ready);
    assert_eq!(until(&knowledge, &db, bad, |document| document.status.is_final()).await.status, Status::Failed);
    jobs.shutdown(Duration::from_secs(5)).await;
}

/// The built-in model, whose second call never ends.
struct Stuck(Faltering);

#[async_trait]
impl EmbeddingModel for Stuck {
    fn name(&self) -> String {
        self.0.name()
    }
    fn dimensions(&self) -> usize {
        self.0.dimensions()
    }
    fn max_tokens(&self) -> usize {
        self.0.max_tokens()
    }
    fn count_tokens(&self, text: &str) -> usize {
        self.0.count_tokens(text)
    }
    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        match self.0.embed(texts).await {
            Err(ModelError::NotRunning { .. }) => std::future::pending().await,
            other => other,
        }
    }
}

#[tokio::test]
async fn a_document_cut_off_by_a_stop_is_finished_after_the_next_start() {
    let test = TestDb::new().await;
    let (_, db) = test.tenant("acme").await;
    let section = |n| format!("# Section {n}\n\nThe section number {n} speaks about topic {}.\n\n", n * 7);
    let long = (0..40).map(section).collect::<Vec<_>>().concat();

    let first = Jobs::new(&test.databases, QUICK);
    let model = Faltering { inner: MiniLm::new(), calls_left: AtomicUsize::new(1), embedded: AtomicUsize::new(0) };
    let stuck = knowledge(&test, Arc::new(Stuck(model)), first.queue::<IngestDocument>());
    first.work(1, Ingester::new(test.databases.clone(), stuck.clone()));
    let id = add(&stuck, &db, "long.md", long.into_bytes()).await;
    until(&stuck, &db, id, |document| document.progress == (16, 40)).await;
    first.shutdown(Duration::from_millis(100)).await;

    let second = Jobs::new(&test.databases, QUICK);
    let model = Faltering { inner: MiniLm::new(), calls_left: AtomicUsize::new(100), embedded: AtomicUsize::new(0) };
    let model = Arc::new(model);
    let sound = knowledge(&test, model.clone(), second.queue::<IngestDocument>());
    second.work(1, Ingester::new(test.databases.clone(), sound.clone()));
    let document = until(&sound, &db, id, |document| document.status.is_final()).await;
    assert_eq!((document.status, document.passages), (Status::Ready, 40));
    assert_eq!(model.embedded.load(std::sync::atomic::Ordering::SeqCst), 24, "what was embedded before stays");
    second.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_document_that_lost_its_job_is_queued_by_the_sweep() {
    let test = TestDb::new().await;
    let (_, db) = test.tenant("acme").await;
    let lossy = knowledge(&test, Arc::new(MiniLm::new()), Queue::default());
    let id = add(&lossy, &db, "a.txt", b"A lonely document.".to_vec()).await;

    let jobs = Jobs::new(&test.databases, QUICK);
    let knowledge = knowledge(&test, Arc::new(MiniLm::new()), jobs.queue::<IngestDocument>());
    assert_eq!(resume(&knowledge, &test.tenants()).await.unwrap(), 1);
    jobs.work(1, Ingester::new(test.databases.clone(), knowledge.clone()));
    let document = until(&knowledge, &db, id, |document| document.status.is_final()).await;
    assert_eq!(document.status, Status::Ready);
    jobs.shutdown(Duration::from_secs(5)).await;
}
