//! Which embedding model an organisation's documents are searched by, and how it is changed while they are searched.
//!
//! The active model stands in the database, not in the configuration: questions are embedded by it, and a document
//! becomes searchable when its passages have its vectors. When the configuration, or a person, wants another one, its
//! vectors are made in the background ([`jobs`], [`work`]) beside those that are searched; when none is missing, the new
//! model becomes the active one in one transaction, and the old vectors go with their index.

pub mod http;
pub mod jobs;
pub(super) mod store;
mod work;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use self::store::{ActiveRow, Begun, NewReembedding};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    config::MOST_DIMENSIONS,
    db::TenantDb,
    egress,
    models::{
        budget::Budgets,
        chat::ModelError,
        embedding::{EmbeddingModel, EmbeddingModels, Input},
        meter::{Planned, Price, Usage},
    },
    support::{
        Error, Result,
        clock::SharedClock,
        ids::{ReembeddingId, TenantId},
    },
};

/// Lengths of vectors for which a new organisation has an index from the beginning.
const INDEXED: [usize; 2] = [384, 768];

/// In whose name the budgets count what documents take.
const SPENDER: &str = "knowledge";

/// The shortest time that tells how fast it goes.
const LEAST_TO_ESTIMATE: TimeDelta = TimeDelta::milliseconds(500);

/// How far a change of the model has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ReembeddingStatus)]
pub enum Status {
    /// Vectors are being made.
    Running,
    /// It goes on by itself when what it waits for is there: the reason says what.
    Waiting,
    /// The new model is the active one.
    Done,
    /// Somebody stopped it; the model before it stayed.
    Cancelled,
    /// It was given up, and the reason says why; the model before it stayed.
    Failed,
}

impl Status {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Running, "running"),
        (Self::Waiting, "waiting"),
        (Self::Done, "done"),
        (Self::Cancelled, "cancelled"),
        (Self::Failed, "failed"),
    ];

    /// Whether it goes on.
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Running | Self::Waiting)
    }

    fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|(_, known)| *known == name);
        found.map(|(status, _)| status).ok_or_else(|| Error::internal(format!("no such status: {name}")))
    }
}

/// How many passages have the new vectors, and how fast it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Passages that have one.
    pub done: i32,
    /// Of so many.
    pub total: i32,
    going_since: Option<DateTime<Utc>>,
    going_from: i32,
}

impl Progress {
    /// How long the rest takes at the pace since the last pause; none while that cannot be told.
    pub fn left(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let (took, made) = (now - self.going_since?, self.done - self.going_from);
        if took < LEAST_TO_ESTIMATE || made <= 0 {
            return None;
        }
        let rest = i64::from((self.total - self.done).max(0));
        took.num_milliseconds().checked_mul(rest).map(|time| TimeDelta::milliseconds(time / i64::from(made)))
    }
}

/// A change of the embedding model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reembedding {
    /// Its identifier.
    pub id: ReembeddingId,
    /// The model that is moved to.
    pub model: String,
    /// The model before it.
    pub previous: String,
    /// How far it has come.
    pub status: Status,
    /// What it waits for, or why it failed, as a sentence for a person.
    pub reason: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How many passages have the new vectors.
    pub progress: Progress,
}

/// How an organisation stands with its embedding model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The model that documents are searched by.
    pub active: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// What the configuration wants.
    pub configured: String,
    /// What people have chosen for this organisation; none while it follows the configuration.
    pub chosen: Option<String>,
    /// Why the active model cannot be asked, so that documents are searched by words alone.
    pub problem: Option<String>,
    /// What the organisation may choose, the configuration's first.
    pub offered: Vec<String>,
    /// The last change, finished or not.
    pub change: Option<Reembedding>,
}

impl State {
    /// The change that goes on.
    pub fn unfinished(&self) -> Option<&Reembedding> {
        self.change.as_ref().filter(|change| change.status.is_unfinished())
    }
}

/// A question as searches compare it with passages.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    /// Whose vectors it is compared with.
    pub model: String,
    /// Its vector; none when the model does not answer, and words alone decide.
    pub vector: Option<Vec<f32>>,
}

/// Puts organisations on the way to [`jobs::Reembedder`], durably.
#[async_trait]
pub trait Enqueue: Send + Sync + 'static {
    /// Asks for what an organisation's vectors need. Asking twice does no harm.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    async fn enqueue(&self, tenant: &TenantId) -> Result<()>;
}

/// The use cases of embedding models. Cheap to clone.
#[derive(Clone)]
pub struct Embedding {
    models: EmbeddingModels,
    clock: SharedClock,
    queue: Option<Arc<dyn Enqueue>>,
    budgets: Option<Budgets>,
}

impl Embedding {
    /// Documents are embedded by the active one of `models`, which is the wanted one until another has been active.
    pub fn new(models: impl Into<EmbeddingModels>, clock: SharedClock) -> Self {
        Self { models: models.into(), clock, queue: None, budgets: None }
    }

    /// What changes of the model are put into.
    #[must_use]
    pub fn with_queue(self, queue: impl Enqueue) -> Self {
        Self { queue: Some(Arc::new(queue)), ..self }
    }

    /// What models that cost something are paid from.
    #[must_use]
    pub fn with_budgets(self, budgets: Budgets) -> Self {
        Self { budgets: Some(budgets), ..self }
    }

    /// The model whose vectors documents get; where there has been none, the wanted one becomes it.
    ///
    /// # Errors
    /// `Unavailable` when the configuration no longer has it.
    pub(super) async fn active(&self, db: &TenantDb) -> Result<Arc<dyn EmbeddingModel>> {
        self.opened(&self.adopted(db).await?.active)
    }

    /// How the organisation stands.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn state(&self, db: &TenantDb) -> Result<State> {
        let row = self.row(db).await?;
        let change = store::latest(db.pool()).await?;
        Ok(State {
            problem: self.opened(&row.active).err().map(|error| error.message().to_owned()),
            active: row.active,
            since: row.since,
            configured: self.models.wanted().name(),
            chosen: row.chosen,
            offered: self.models.offered().to_vec(),
            change,
        })
    }

    /// Begins to move the organisation to `model`, or to the configuration's where none is named, which it then follows
    /// again. Where that is the active one already, nothing else is done.
    ///
    /// # Errors
    /// `Invalid` when there is no such model; `Conflict` while another change goes on.
    pub async fn change(&self, db: &TenantDb, model: Option<&str>, by: Actor) -> Result<State> {
        let model = model.map_or_else(|| Ok(self.models.wanted()), |name| self.models.open(name))?;
        self.begin(db, &*model, by, false).await?;
        self.state(db).await
    }

    /// As [`Embedding::change`], for people of the organisation, who have those to choose from that the configuration
    /// offers: others may cost what they do not pay.
    ///
    /// # Errors
    /// `Invalid` when the model is not offered.
    pub async fn choose(&self, db: &TenantDb, model: Option<&str>, by: Actor) -> Result<State> {
        if let Some(name) = model.filter(|name| !self.models.offered().iter().any(|offered| offered == name)) {
            return Err(Error::invalid(format!(
                "The embedding model \"{name}\" is not among those that can be chosen here"
            ))
            .remedy(format!("Choose one of these: {}", self.models.offered().join(", "))));
        }
        self.change(db, model, by).await
    }

    /// Stops a change that goes on. The active model stays, even where the configuration wants another.
    ///
    /// # Errors
    /// `Conflict` when none goes on.
    pub async fn cancel(&self, db: &TenantDb, by: Actor) -> Result<State> {
        let Some(model) = store::cancel(db.pool(), self.clock.now()).await? else {
            return Err(Error::conflict("No change of the embedding model is going on"));
        };
        self.record(db, by, Action::ReembeddingCancelled, &model, json!({})).await?;
        self.enqueue(db).await?;
        self.state(db).await
    }

    /// For the start: goes on with what is not finished, and begins to move an organisation whose active model is not what
    /// the configuration wants by now, unless people have chosen one.
    ///
    /// # Errors
    /// When the database or the queue does not answer.
    pub async fn follow(&self, db: &TenantDb) -> Result<bool> {
        let Some(row) = store::active(db.pool()).await? else { return Ok(false) };
        let unfinished = store::latest(db.pool()).await?.filter(|change| change.status.is_unfinished());
        store::paused(db.pool()).await?;
        let wanted = self.models.wanted();
        let on_the_way = unfinished.as_ref().map_or(&row.active, |change| &change.model);
        if row.chosen.is_none() && *on_the_way != wanted.name() {
            self.begin(db, &*wanted, Actor::System, true).await?;
        } else if unfinished.is_some() || row.untidy {
            self.enqueue(db).await?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// What a search compares passages with. When the model does not answer, words alone decide, and the log says so.
    pub(super) async fn question(&self, db: &TenantDb, text: &str) -> Result<Question> {
        let row = self.row(db).await?;
        let texts = [text.to_owned()];
        let asked = async {
            let model = self.opened(&row.active)?;
            self.vectors(db, &*model, &texts, Input::Question).await.map_err(super::ingest::unavailable)
        };
        let vector = match asked.await {
            Ok(vectors) => vectors.into_iter().next(),
            Err(error) => {
                tracing::warn!(model = row.active, %error, "searching by words alone, because the embedding model does not answer");
                None
            }
        };
        Ok(Question { model: row.active, vector })
    }

    /// One vector for each text, in order, paid from the organisation's budget.
    pub(super) async fn vectors(
        &self,
        db: &TenantDb,
        model: &dyn EmbeddingModel,
        texts: &[String],
        input: Input,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let estimated = texts.iter().map(|text| model.count_tokens(text).min(model.max_tokens())).sum::<usize>();
        let estimated = u32::try_from(estimated).unwrap_or(u32::MAX);
        let meter = self.budgets.as_ref().filter(|_| model.price() != Price::Free);
        let reservation = match meter {
            Some(budgets) => {
                let at_most = Usage { prompt_tokens: estimated, completion_tokens: 0 };
                let planned = Planned { model: &model.name(), price: model.price(), at_most };
                Some(budgets.meter(db, SPENDER, None).reserve(&planned).await?)
            }
            None => None,
        };
        let embedded = egress::on_behalf_of(db.tenant(), None, model.embed_counted(texts, input)).await;
        if let Some(reservation) = reservation {
            // What was refused is charged by nobody; what broke off may have been read.
            let used = match &embedded {
                Ok(counted) => Some(counted.tokens.unwrap_or(estimated)),
                Err(ModelError::TimedOut { .. } | ModelError::Network { .. }) => Some(estimated),
                Err(_) => None,
            };
            reservation.settle(used.map(|prompt_tokens| Usage { prompt_tokens, completion_tokens: 0 })).await;
        }
        let vectors = embedded?.vectors;
        let wrong = |message: String| Err(ModelError::Server { message });
        if vectors.len() != texts.len() {
            return wrong("the embedding model gave fewer vectors than it was given texts".to_owned());
        }
        match vectors.iter().map(Vec::len).find(|&length| length == 0 || length > MOST_DIMENSIONS) {
            Some(length) => wrong(format!(
                "{} makes vectors of {length} numbers, and at most {MOST_DIMENSIONS} can be searched: a model that can \
                 make shorter ones is asked for them by its name, as in \"{}@1024\"",
                model.name(),
                model.name()
            )),
            None => Ok(vectors),
        }
    }

    /// A document has become searchable: whatever its vectors still need is asked for.
    pub(super) async fn ingested(&self, db: &TenantDb) -> Result<()> {
        if self.row(db).await?.untidy {
            self.enqueue(db).await?;
        }
        Ok(())
    }

    async fn begin(&self, db: &TenantDb, model: &dyn EmbeddingModel, by: Actor, replace: bool) -> Result<()> {
        let row = self.adopted(db).await?;
        let (name, configured) = (model.name(), self.models.wanted().name());
        let new = NewReembedding {
            id: ReembeddingId::generate(),
            model: &name,
            chosen: (name != configured).then_some(name.as_str()),
            by: &by,
            at: self.clock.now(),
            replace,
        };
        match store::begin(db.pool(), &new).await? {
            Begun::Busy(other) if other == name => return Ok(()),
            Begun::Busy(other) => {
                return Err(Error::conflict(format!("The documents are being moved to {other}"))
                    .remedy("Wait for the end of that, or stop it first"));
            }
            Begun::Active => {}
            Begun::Now => {
                let detail = json!({ "from": row.active });
                self.record(db, by, Action::ReembeddingStarted, &name, detail).await?;
            }
        }
        self.enqueue(db).await
    }

    /// The active model, or the one that the first document will make it.
    async fn row(&self, db: &TenantDb) -> Result<ActiveRow> {
        let active = self.models.wanted().name();
        let none_yet = || ActiveRow { active, since: self.clock.now(), chosen: None, untidy: false };
        Ok(store::active(db.pool()).await?.unwrap_or_else(none_yet))
    }

    async fn adopted(&self, db: &TenantDb) -> Result<ActiveRow> {
        if let Some(row) = store::active(db.pool()).await? {
            return Ok(row);
        }
        let wanted = self.models.wanted();
        let untidy = !INDEXED.contains(&wanted.dimensions());
        store::adopt(db.pool(), &wanted.name(), untidy, self.clock.now()).await
    }

    fn opened(&self, name: &str) -> Result<Arc<dyn EmbeddingModel>> {
        self.models.open(name).map_err(|error| {
            let message = format!("the embedding model {name} is no longer in the configuration: {}", error.message());
            Error::unavailable(message).remedy("name it in embedding.others until the documents have new vectors")
        })
    }

    async fn enqueue(&self, db: &TenantDb) -> Result<()> {
        match &self.queue {
            Some(queue) => queue.enqueue(db.tenant()).await,
            None => Ok(()),
        }
    }

    async fn record(
        &self,
        db: &TenantDb,
        actor: Actor,
        action: Action,
        model: &str,
        detail: serde_json::Value,
    ) -> Result<()> {
        let entry = NewEntry { actor, action, run: None, subject: Some(model.to_owned()), detail };
        audit::append(db, &*self.clock, entry).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_pace_since_the_last_pause() {
        let start = DateTime::UNIX_EPOCH;
        let progress = Progress { done: 300, total: 1000, going_since: Some(start), going_from: 100 };
        assert_eq!(progress.left(start + TimeDelta::seconds(20)), Some(TimeDelta::seconds(70)));
        assert_eq!(progress.left(start), None, "nobody can tell yet");
        assert_eq!(Progress { done: 100, ..progress }.left(start + TimeDelta::seconds(20)), None);
        assert_eq!(Progress { going_since: None, ..progress }.left(start + TimeDelta::seconds(20)), None);
        let over = Progress { done: 1200, ..progress };
        assert_eq!(over.left(start + TimeDelta::seconds(20)), Some(TimeDelta::zero()));
    }
}
