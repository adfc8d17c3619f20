//! An organisation between two embedding models, for the tests of what happens on the way.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aegis::{
    audit::Actor,
    db::TenantDb,
    jobs::{Attempt, Failure, Handler as _, Job as _},
    knowledge::{
        Knowledge, Reader, Upload,
        embedding::{
            Embedding,
            jobs::{Reembed, Reembedder},
        },
    },
    models::{
        chat::ModelError,
        embedding::{Counted, EmbeddingModel, EmbeddingModels, Input},
        meter::Price,
    },
    support::ids::DocumentId,
};
use async_trait::async_trait;

use super::fixture::{Queue, settings};
use crate::harness::TestDb;

type Deed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A model whose vectors lie close together where texts share words. It remembers what it read, answers as many calls
/// as it is allowed, and does something before one of them.
pub struct Words {
    pub name: &'static str,
    pub dimensions: usize,
    pub price: Price,
    pub calls_left: AtomicUsize,
    pub passages: Mutex<Vec<String>>,
    pub questions: AtomicUsize,
    /// Before the call of this number, from 1.
    pub before: Mutex<Option<(usize, Deed)>>,
    pub calls: AtomicUsize,
}

impl Words {
    pub fn new(name: &'static str, dimensions: usize) -> Arc<Self> {
        Self::dear(name, dimensions, Price::Free)
    }

    pub fn dear(name: &'static str, dimensions: usize, price: Price) -> Arc<Self> {
        Arc::new(Self {
            name,
            dimensions,
            price,
            calls_left: AtomicUsize::new(usize::MAX),
            passages: Mutex::default(),
            questions: AtomicUsize::new(0),
            before: Mutex::default(),
            calls: AtomicUsize::new(0),
        })
    }

    pub fn before(&self, call: usize, deed: impl Future<Output = ()> + Send + 'static) {
        *self.before.lock().unwrap() = Some((call, Box::pin(deed)));
    }

    pub fn read(&self) -> usize {
        self.passages.lock().unwrap().len()
    }

    pub fn vector(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.001_f32; self.dimensions];
        for word in text.to_lowercase().split(|sign: char| !sign.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let hash = word.bytes().fold(17_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            vector[hash % self.dimensions] += 1.0;
        }
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter().map(|value| value / length).collect()
    }

    pub fn answer(&self) -> Result<(), ModelError> {
        let left = self.calls_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| ModelError::NotRunning { address: format!("{}.example:1", self.name) })
    }
}

#[async_trait]
impl EmbeddingModel for Words {
    fn name(&self) -> String {
        format!("test/{}", self.name)
    }
    fn dimensions(&self) -> usize {
        self.dimensions
    }
    fn max_tokens(&self) -> usize {
        500
    }
    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }
    fn price(&self) -> Price {
        self.price
    }
    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let deed = self.before.lock().unwrap().take_if(|(number, _)| *number == call);
        if let Some((_, deed)) = deed {
            deed.await;
        }
        // Somebody else has a turn, as with a server.
        tokio::task::yield_now().await;
        self.answer()?;
        self.passages.lock().unwrap().extend_from_slice(texts);
        Ok(texts.iter().map(|text| self.vector(text)).collect())
    }
    async fn embed_query(&self, text: &str) -> Result<Vec<f32>, ModelError> {
        self.answer()?;
        self.questions.fetch_add(1, Ordering::SeqCst);
        Ok(self.vector(text))
    }
    async fn embed_counted(&self, texts: &[String], input: Input) -> Result<Counted, ModelError> {
        let vectors = match input {
            Input::Passage => self.embed(texts).await?,
            Input::Question => vec![self.embed_query(&texts[0]).await?],
        };
        Ok(Counted { vectors, tokens: Some(u32::try_from(texts.len()).unwrap() * 10) })
    }
}

/// An organisation whose documents are searched by `old`, and the way to `new`.
pub struct Move {
    pub test: TestDb,
    pub db: TenantDb,
    pub old: Arc<Words>,
    pub new: Arc<Words>,
    pub knowledge: Knowledge,
}

impl Move {
    pub async fn new() -> Self {
        Self::between(Words::new("old", 320), Words::new("new", 480)).await
    }

    pub async fn between(old: Arc<Words>, new: Arc<Words>) -> Self {
        let test = TestDb::new().await;
        let (_, db) = test.tenant("acme").await;
        let knowledge = knowledge(&test, &[old.clone(), new.clone()]);
        Self { test, db, old, new, knowledge }
    }

    pub fn embedding(&self) -> &Embedding {
        self.knowledge.embedding()
    }

    pub async fn add(&self, name: &str, text: String) -> DocumentId {
        add(&self.knowledge, &self.db, name, text).await
    }

    pub async fn ingest(&self, name: &str, text: String) -> DocumentId {
        let id = self.add(name, text).await;
        self.knowledge.ingest(&self.db, id).await.unwrap();
        id
    }

    /// Does the job once.
    pub async fn work(&self) -> Result<(), Failure> {
        let worker = Reembedder::new(self.test.databases.clone(), self.embedding().clone()).with_grace(Duration::ZERO);
        worker.run(Reembed { tenant: self.db.tenant().clone() }, Attempt { number: 1, of: Reembed::ATTEMPTS }).await
    }

    pub async fn start(&self) {
        self.embedding().change(&self.db, Some("test/new"), Actor::Operator).await.unwrap();
    }

    /// How many vectors each model has.
    pub async fn vectors(&self) -> Vec<(String, i64)> {
        vectors(&self.db).await
    }

    pub async fn indexes(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT indexname::text FROM pg_indexes
             WHERE schemaname = $1 AND tablename = 'passage_vectors' AND indexdef LIKE '%hnsw%' ORDER BY 1",
        )
        .bind(self.db.tenant().schema())
        .fetch_all(&mut self.test.superuser().await)
        .await
        .unwrap()
    }

    pub async fn log(&self) -> Vec<(String, serde_json::Value)> {
        sqlx::query_as("SELECT action, detail::jsonb FROM audit_entries WHERE action LIKE 'reembedding.%' ORDER BY seq")
            .fetch_all(self.db.pool())
            .await
            .unwrap()
    }

    /// By meaning alone: no word of the question stands in a document, but its vector is that of the section.
    pub async fn finds(&self, section: usize) -> bool {
        finds(&self.knowledge, &self.db, section).await
    }
}

pub fn knowledge(test: &TestDb, models: &[Arc<Words>]) -> Knowledge {
    let models = models.iter().map(|model| model.clone() as Arc<dyn EmbeddingModel>).collect();
    let embedding = Embedding::new(EmbeddingModels::given(models).unwrap(), test.shared_clock());
    with(test, embedding)
}

pub fn with(test: &TestDb, embedding: Embedding) -> Knowledge {
    let program = env!("CARGO_BIN_EXE_aegis").into();
    Knowledge::new(settings(), embedding, Queue::default(), test.shared_clock(), program)
}

pub async fn add(knowledge: &Knowledge, db: &TenantDb, name: &str, text: String) -> DocumentId {
    let upload = Upload::new(name, text.into_bytes(), Actor::Operator);
    knowledge.open(db, Reader::everything()).add(upload).await.unwrap().document.id
}

pub async fn vectors(db: &TenantDb) -> Vec<(String, i64)> {
    sqlx::query_as("SELECT model, count(*) FROM passage_vectors GROUP BY model ORDER BY model DESC")
        .fetch_all(db.pool())
        .await
        .unwrap()
}

/// "zq7" stands in one section alone. Full text knows it as a word too, so the words are taken away before.
pub async fn finds(knowledge: &Knowledge, db: &TenantDb, section: usize) -> bool {
    let hits = knowledge.open(db, Reader::everything()).search(&format!("zq{section}"), 5).await.unwrap();
    hits.iter().any(|hit| hit.passage.text.contains(&format!("zq{section} ")))
}

/// From here on nothing is found by its words.
pub async fn without_words(db: &TenantDb) {
    sqlx::query("UPDATE passages SET searchable = ''").execute(db.pool()).await.unwrap();
}

pub fn sections(numbers: std::ops::Range<usize>) -> String {
    let section = |n| format!("# Section {n}\n\nThe word zq{n} zq{n} zq{n} zq{n} zq{n} zq{n} stands here.\n\n");
    numbers.map(section).collect::<Vec<_>>().concat()
}
