//! What the tests of the knowledge base stand on.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use aegis::{
    accounts::Accounts,
    audit::Actor,
    config,
    db::TenantDb,
    knowledge::{Added, Document, Enqueue, Hit, Knowledge, Library, Reader, Upload, embedding::Embedding},
    models::{chat::ModelError, embedding::EmbeddingModel, minilm::MiniLm},
    support::{
        Result,
        ids::{DocumentId, TenantId},
    },
};
use async_trait::async_trait;

use crate::harness::TestDb;

/// Remembers what was asked of it.
#[derive(Clone, Default)]
pub struct Queue(pub Arc<Mutex<Vec<DocumentId>>>);

#[async_trait]
impl Enqueue for Queue {
    async fn enqueue(&self, _: &TenantId, document: DocumentId) -> Result<()> {
        self.0.lock().unwrap().push(document);
        Ok(())
    }

    async fn enqueued(&self, _: &TenantId) -> Result<HashSet<DocumentId>> {
        Ok(HashSet::new())
    }
}

/// A knowledge base with the built-in embedding model.
pub struct Fixture {
    pub test: TestDb,
    pub db: TenantDb,
    pub knowledge: Knowledge,
    pub queue: Queue,
}

impl Fixture {
    pub async fn new() -> Self {
        let test = TestDb::new().await;
        let (_, db) = test.tenant("acme").await;
        let queue = Queue::default();
        let knowledge = knowledge(&test, Arc::new(MiniLm::new()), queue.clone());
        Self { test, db, knowledge, queue }
    }

    /// As the operator sees it.
    pub fn library(&self) -> Library<'_> {
        self.knowledge.open(&self.db, Reader::everything())
    }

    pub async fn add(&self, file_name: &str, bytes: Vec<u8>) -> Added {
        let upload = Upload::new(file_name.to_owned(), bytes, Actor::Operator);
        self.library().add(upload).await.unwrap()
    }

    /// Adds a file and does the queue's work.
    pub async fn ingest(&self, file_name: &str, bytes: Vec<u8>) -> Document {
        let added = self.add(file_name, bytes).await;
        self.knowledge.ingest(&self.db, added.document.id).await.unwrap();
        self.document(added.document.id).await
    }

    pub async fn document(&self, id: DocumentId) -> Document {
        self.library().document(id).await.unwrap().unwrap()
    }

    pub async fn search(&self, question: &str) -> Vec<Hit> {
        self.library().search(question, 5).await.unwrap()
    }

    pub async fn actions(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT action FROM audit_entries ORDER BY seq").fetch_all(self.db.pool()).await.unwrap()
    }
}

pub fn settings() -> config::Knowledge {
    config::Knowledge {
        max_file_mib: 1,
        extract_memory_mib: 1024,
        extract_cpu_seconds: 30,
        passage_tokens: 220,
        workers: 1,
        watch_folder: std::path::PathBuf::new(),
        watch_seconds: 15,
        rerank_route: String::new(),
        keep_versions_days: 0,
    }
}

pub fn knowledge(test: &TestDb, model: Arc<dyn EmbeddingModel>, queue: impl Enqueue) -> Knowledge {
    let embedding = Embedding::new(model, test.shared_clock());
    Knowledge::new(settings(), embedding, queue, test.shared_clock(), env!("CARGO_BIN_EXE_aegis").into())
}

/// The built-in model, which answers some calls and then is gone until it is told otherwise.
pub struct Faltering {
    pub inner: MiniLm,
    pub calls_left: AtomicUsize,
    pub embedded: AtomicUsize,
}

#[async_trait]
impl EmbeddingModel for Faltering {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn dimensions(&self) -> usize {
        self.inner.dimensions()
    }
    fn max_tokens(&self) -> usize {
        self.inner.max_tokens()
    }
    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }
    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        let left = self.calls_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(ModelError::NotRunning { address: "127.0.0.1:1".to_owned() });
        }
        self.embedded.fetch_add(texts.len(), Ordering::SeqCst);
        self.inner.embed(texts).await
    }
}

/// The people of the appliance.
pub fn accounts(test: &TestDb) -> Accounts {
    let settings = config::Accounts { session_idle_hours: 72, session_days: 30, concurrent_hashes: 2 };
    Accounts::new(test.databases.clone(), test.tenants(), test.shared_clock(), test.doors(), &settings)
}
