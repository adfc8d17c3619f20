//! The table `memories`, and whatever is made of its texts. Who may see a fact is decided here, in the query.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use super::{About, Fact, FactKind, FactSource, Subject};
use crate::{
    audit::Actor,
    db::TenantDb,
    support::{
        Error, Result,
        ids::{ConversationId, MemoryId, RunId, UserId},
    },
};

const COLUMNS: &str = "memories.id, about, agent, user_id, text, kind, source, run, conversation, learned_from, tainted, \
                       has_read, confirmed_at, made_by, created_at, updated_at, used_at";
/// What an agent is told in a conversation of a person: `$5` the agent, `$6` the person.
const READS: &str = "$7::boolean IS NOT NULL
    AND ((about = 'person' AND user_id = $6::uuid AND (confirmed_at IS NOT NULL OR NOT tainted))
      OR ((about = 'organisation' OR (about = 'agent' AND agent = $5::text))
          AND (confirmed_at IS NOT NULL OR (NOT tainted AND learned_from = $6::uuid))))";
/// What a person may see: `$6` they, `$7` whether they manage agents.
const SEES: &str = "($5::text IS NULL)
    AND ((about = 'person' AND user_id = $6::uuid)
      OR (about <> 'person' AND (confirmed_at IS NOT NULL OR learned_from = $6::uuid OR $7::boolean)))";

/// Who asks, and so what there is for them.
pub(super) enum Whose<'a> {
    /// An agent, in the conversation of a person or in nobody's.
    Reads { agent: &'a str, user: Option<UserId> },
    /// A person on the page.
    Sees { user: UserId, manages: bool },
}

impl Whose<'_> {
    fn condition(&self) -> &'static str {
        match self {
            Self::Reads { .. } => READS,
            Self::Sees { .. } => SEES,
        }
    }

    /// `$5`, `$6`, `$7`.
    fn values(&self) -> (Option<&str>, Option<Uuid>, bool) {
        match self {
            Self::Reads { agent, user } => (Some(agent), user.map(|user| user.0), false),
            Self::Sees { user, manages } => (None, Some(user.0), *manages),
        }
    }
}

/// A search by meaning and by words.
pub(super) struct Search<'a> {
    pub(super) question: &'a str,
    /// Absent when no vector could be had; then words alone decide.
    pub(super) vector: Option<&'a [f32]>,
    pub(super) model: &'a str,
    pub(super) dimensions: usize,
    pub(super) limit: i64,
}

/// A text that may be remembered already in other words.
pub(super) struct Likeness<'a> {
    pub(super) text: &'a str,
    pub(super) vector: Option<&'a [f32]>,
    pub(super) model: &'a str,
}

/// Whether there is anything for them at all.
pub(super) async fn anything(db: &TenantDb, whose: &Whose<'_>) -> Result<bool> {
    let statement = format!("SELECT EXISTS (SELECT FROM memories WHERE {})", first_three(whose));
    let (agent, user, manages) = whose.values();
    let found = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).bind(agent).bind(user).bind(manages);
    Ok(found.fetch_one(db.pool()).await?)
}

/// What fits best, best first.
pub(super) async fn search(db: &TenantDb, whose: &Whose<'_>, search: &Search<'_>) -> Result<Vec<Fact>> {
    let statement = include_str!("sql/recall.sql")
        .replace("{d}", &search.dimensions.to_string())
        .replace("{whose}", whose.condition())
        .replace("{columns}", COLUMNS);
    let (agent, user, manages) = whose.values();
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(search.vector.map(vector_text))
        .bind(search.question)
        .bind(search.model)
        .bind(search.limit)
        .bind(agent)
        .bind(user)
        .bind(manages)
        .fetch_all(db.pool())
        .await?;
    rows.into_iter().map(Row::open).collect()
}

/// Everything for them: what is newest first, `limit` at most.
pub(super) async fn list(db: &TenantDb, whose: &Whose<'_>, limit: i64) -> Result<Vec<Fact>> {
    let statement = format!(
        "SELECT {COLUMNS} FROM memories WHERE {} ORDER BY updated_at DESC, id DESC LIMIT $4",
        first_three(whose)
    );
    let (agent, user, manages) = whose.values();
    let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(agent).bind(user).bind(manages);
    rows.bind(limit).fetch_all(db.pool()).await?.into_iter().map(Row::open).collect()
}

/// One, if it is for them.
pub(super) async fn one(db: &TenantDb, whose: &Whose<'_>, id: MemoryId) -> Result<Option<Fact>> {
    let statement = format!("SELECT {COLUMNS} FROM memories WHERE id = $4 AND {}", first_three(whose));
    let (agent, user, manages) = whose.values();
    let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(agent).bind(user).bind(manages);
    row.bind(id.0).fetch_optional(db.pool()).await?.map(Row::open).transpose()
}

/// What a call has written down already.
pub(super) async fn of_call(db: &TenantDb, run: RunId, call: &str) -> Result<Option<Fact>> {
    let statement = format!("SELECT {COLUMNS} FROM memories WHERE run = $1 AND call = $2");
    let row = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(run.0).bind(call);
    row.fetch_optional(db.pool()).await?.map(Row::open).transpose()
}

/// What is remembered of a person, and what was learned in their conversations.
pub(super) async fn of_person(db: &TenantDb, user: UserId) -> Result<Vec<Fact>> {
    let statement = format!("SELECT {COLUMNS} FROM memories WHERE user_id = $1 OR learned_from = $1 ORDER BY id");
    let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(user.0).fetch_all(db.pool()).await?;
    rows.into_iter().map(Row::open).collect()
}

/// What was learned in a conversation.
pub(super) async fn of_conversation(db: &TenantDb, conversation: ConversationId) -> Result<Vec<Fact>> {
    let statement = format!("SELECT {COLUMNS} FROM memories WHERE conversation = $1 ORDER BY id");
    let rows = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(statement)).bind(conversation.0);
    rows.fetch_all(db.pool()).await?.into_iter().map(Row::open).collect()
}

/// Facts of these identifiers that are still what they were at that moment: identifier, run, call and text.
pub(super) async fn texts(
    db: &TenantDb,
    ids: &[MemoryId],
    run: RunId,
    until: DateTime<Utc>,
) -> Result<Vec<(MemoryId, Option<String>, String)>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows: Vec<(Uuid, Option<String>, String)> = sqlx::query_as(
        "SELECT id, CASE WHEN run = $2 THEN call END, text FROM memories
         WHERE (id = ANY ($1) OR run = $2) AND updated_at <= $3",
    )
    .bind(ids)
    .bind(run.0)
    .bind(until)
    .fetch_all(db.pool())
    .await?;
    Ok(rows.into_iter().map(|(id, call, text)| (MemoryId(id), call, text)).collect())
}

/// What says nearly the same of the same subject: the same words, or the same and more, and where both have vectors these lie
/// close together. The closest first.
pub(super) async fn alike(db: &TenantDb, subject: &Subject, likeness: &Likeness<'_>) -> Result<Vec<Fact>> {
    let (agent, user) = owner(subject);
    let statement = format!(
        "SELECT {COLUMNS} FROM memories,
                LATERAL (SELECT CASE WHEN $5::text IS NOT NULL AND model = $6 AND dimensions = $7
                                     THEN embedding OPERATOR(extensions.<=>) $5::text::extensions.halfvec END
                                AS distance) AS apart
         WHERE about = $1 AND agent IS NOT DISTINCT FROM $2 AND user_id IS NOT DISTINCT FROM $3
           AND (text = $4
             OR (tsvector_to_array(searchable) <@ tsvector_to_array(to_tsvector('english', $4))
                 AND cardinality(tsvector_to_array(searchable)) > 1 AND coalesce(distance, 0) < 0.15))
         ORDER BY text = $4 DESC, distance NULLS LAST, id LIMIT 4"
    );
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(about_name(subject.about()))
        .bind(agent)
        .bind(user)
        .bind(likeness.text)
        .bind(likeness.vector.map(vector_text))
        .bind(likeness.model)
        .bind(likeness.vector.map(|vector| i16::try_from(vector.len()).unwrap_or(i16::MAX)))
        .fetch_all(db.pool())
        .await?;
    rows.into_iter().map(Row::open).collect()
}

/// Keeps a fact. False when its subject has `most` already.
pub(super) async fn insert(
    db: &TenantDb,
    fact: &Fact,
    call: Option<&str>,
    vector: Option<&(String, Vec<f32>)>,
    most: i64,
) -> Result<bool> {
    let written = sqlx::query(
        "INSERT INTO memories (id, about, agent, user_id, text, kind, source, run, call, conversation, learned_from, tainted,
                               has_read, confirmed_at, made_by, created_at, updated_at, model, dimensions, embedding,
                               searchable)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                $20::text::extensions.halfvec, to_tsvector('english', $5)
         WHERE (SELECT count(*) FROM memories
                WHERE about = $2 AND agent IS NOT DISTINCT FROM $3 AND user_id IS NOT DISTINCT FROM $4) < $21
         ON CONFLICT (run, call) WHERE call IS NOT NULL DO NOTHING",
    )
    .bind(fact.id.0)
    .bind(about_name(fact.about))
    .bind(&fact.agent)
    .bind(fact.user.map(|user| user.0))
    .bind(&fact.text)
    .bind(kind_name(fact.kind))
    .bind(source_name(fact.source))
    .bind(fact.run.map(|run| run.0))
    .bind(call)
    .bind(fact.conversation.map(|conversation| conversation.0))
    .bind(fact.learned_from.map(|user| user.0))
    .bind(fact.tainted)
    .bind(serde_json::to_string(&fact.has_read).map_err(Error::internal)?)
    .bind(fact.confirmed_at)
    .bind(Json(&fact.made_by))
    .bind(fact.created_at)
    .bind(fact.updated_at)
    .bind(vector.map(|(model, _)| model))
    .bind(vector.map(|(_, vector)| i16::try_from(vector.len()).unwrap_or(i16::MAX)))
    .bind(vector.map(|(_, vector)| vector_text(vector)))
    .bind(most)
    .execute(db.pool())
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Has a fact say something else. False when it is not there any more.
pub(super) async fn replace(
    db: &TenantDb,
    fact: &Fact,
    call: Option<&str>,
    vector: Option<&(String, Vec<f32>)>,
) -> Result<bool> {
    let written = sqlx::query(
        "UPDATE memories
         SET text = $2, kind = $3, source = $4, run = $5, call = coalesce($6, call), conversation = $7, learned_from = $8,
             tainted = $9, has_read = $10, confirmed_at = $11, made_by = $12, updated_at = $13, model = $14, dimensions = $15,
             embedding = $16::text::extensions.halfvec, searchable = to_tsvector('english', $2)
         WHERE id = $1",
    )
    .bind(fact.id.0)
    .bind(&fact.text)
    .bind(kind_name(fact.kind))
    .bind(source_name(fact.source))
    .bind(fact.run.map(|run| run.0))
    .bind(call)
    .bind(fact.conversation.map(|conversation| conversation.0))
    .bind(fact.learned_from.map(|user| user.0))
    .bind(fact.tainted)
    .bind(serde_json::to_string(&fact.has_read).map_err(Error::internal)?)
    .bind(fact.confirmed_at)
    .bind(Json(&fact.made_by))
    .bind(fact.updated_at)
    .bind(vector.map(|(model, _)| model))
    .bind(vector.map(|(_, vector)| i16::try_from(vector.len()).unwrap_or(i16::MAX)))
    .bind(vector.map(|(_, vector)| vector_text(vector)))
    .execute(db.pool())
    .await?;
    Ok(written.rows_affected() == 1)
}

/// A person stands by it.
pub(super) async fn confirm(db: &TenantDb, id: MemoryId, at: DateTime<Utc>) -> Result<()> {
    sqlx::query("UPDATE memories SET confirmed_at = $2 WHERE id = $1").bind(id.0).bind(at).execute(db.pool()).await?;
    Ok(())
}

/// An agent was reminded of these.
pub(super) async fn used(db: &TenantDb, ids: &[MemoryId], at: DateTime<Utc>) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    sqlx::query("UPDATE memories SET used_at = $2 WHERE id = ANY ($1)").bind(ids).bind(at).execute(db.pool()).await?;
    Ok(())
}

/// Text, words and vector stand in one row, and go together.
pub(super) async fn delete(db: &TenantDb, id: MemoryId) -> Result<()> {
    sqlx::query("DELETE FROM memories WHERE id = $1").bind(id.0).execute(db.pool()).await?;
    Ok(())
}

/// Takes a fact's text out of whatever was made of it. `instead` stands where JSON is kept.
pub(super) async fn scrub(db: &TenantDb, fact: &Fact, instead: &str) -> Result<()> {
    let json = serde_json::to_string(&fact.text).map_err(Error::internal)?;
    let json = json.trim_matches('"');
    let mut transaction = db.pool().begin().await?;
    sqlx::query(
        "UPDATE compactions SET summary = NULL, facts = array_remove(facts, $1)
         WHERE summary IS NOT NULL AND (conversation = $2 OR $1 = ANY (facts) OR position($3 IN summary) > 0)",
    )
    .bind(fact.id.0)
    .bind(fact.conversation.map(|conversation| conversation.0))
    .bind(&fact.text)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("UPDATE run_journal SET payload = replace(payload, $1, $2) WHERE position($1 IN payload) > 0")
        .bind(json)
        .bind(instead)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "UPDATE approvals SET arguments = replace(arguments, $1, $2), edited = replace(edited, $1, $2)
         WHERE position($1 IN arguments) > 0 OR position($1 IN edited) > 0",
    )
    .bind(json)
    .bind(instead)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// What has no vector of this model.
pub(super) async fn without_vector(
    db: &TenantDb,
    whose: &Whose<'_>,
    model: &str,
    at_most: i64,
) -> Result<Vec<(MemoryId, String)>> {
    let statement = format!(
        "SELECT id, text FROM memories WHERE model IS DISTINCT FROM $4 AND {} ORDER BY id LIMIT $5",
        first_three(whose)
    );
    let (agent, user, manages) = whose.values();
    let rows: Vec<(Uuid, String)> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(agent)
        .bind(user)
        .bind(manages)
        .bind(model)
        .bind(at_most)
        .fetch_all(db.pool())
        .await?;
    Ok(rows.into_iter().map(|(id, text)| (MemoryId(id), text)).collect())
}

/// Gives a fact the vector of its text, if that is still its text.
pub(super) async fn set_vector(db: &TenantDb, id: MemoryId, text: &str, model: &str, vector: &[f32]) -> Result<()> {
    sqlx::query(
        "UPDATE memories SET model = $3, dimensions = $4, embedding = $5::text::extensions.halfvec WHERE id = $1 AND text = $2",
    )
    .bind(id.0)
    .bind(text)
    .bind(model)
    .bind(i16::try_from(vector.len()).unwrap_or(i16::MAX))
    .bind(vector_text(vector))
    .execute(db.pool())
    .await?;
    Ok(())
}

/// The condition with its values as `$1`, `$2` and `$3`.
fn first_three(whose: &Whose<'_>) -> String {
    whose.condition().replace("$5", "$1").replace("$6", "$2").replace("$7", "$3")
}

fn owner(subject: &Subject) -> (Option<&str>, Option<Uuid>) {
    match subject {
        Subject::Agent(agent) => (Some(agent), None),
        Subject::Person(user) => (None, Some(user.0)),
        Subject::Organisation => (None, None),
    }
}

pub(super) fn about_name(about: About) -> &'static str {
    match about {
        About::Agent => "agent",
        About::Person => "person",
        About::Organisation => "organisation",
    }
}

pub(super) fn kind_name(kind: FactKind) -> &'static str {
    match kind {
        FactKind::Fact => "fact",
        FactKind::Preference => "preference",
        FactKind::Decision => "decision",
        FactKind::Task => "task",
    }
}

fn source_name(source: FactSource) -> &'static str {
    match source {
        FactSource::Agent => "agent",
        FactSource::Person => "person",
        FactSource::Import => "import",
        FactSource::Compaction => "compaction",
    }
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    about: String,
    agent: Option<String>,
    user_id: Option<Uuid>,
    text: String,
    kind: String,
    source: String,
    run: Option<Uuid>,
    conversation: Option<Uuid>,
    learned_from: Option<Uuid>,
    tainted: bool,
    has_read: String,
    confirmed_at: Option<DateTime<Utc>>,
    made_by: Json<Actor>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
}

impl Row {
    fn open(self) -> Result<Fact> {
        Ok(Fact {
            id: MemoryId(self.id),
            about: match self.about.as_str() {
                "agent" => About::Agent,
                "person" => About::Person,
                _ => About::Organisation,
            },
            agent: self.agent,
            user: self.user_id.map(UserId),
            text: self.text,
            kind: match self.kind.as_str() {
                "preference" => FactKind::Preference,
                "decision" => FactKind::Decision,
                "task" => FactKind::Task,
                _ => FactKind::Fact,
            },
            source: match self.source.as_str() {
                "person" => FactSource::Person,
                "import" => FactSource::Import,
                "compaction" => FactSource::Compaction,
                _ => FactSource::Agent,
            },
            run: self.run.map(RunId),
            conversation: self.conversation.map(ConversationId),
            learned_from: self.learned_from.map(UserId),
            tainted: self.tainted,
            has_read: serde_json::from_str(&self.has_read).map_err(Error::internal)?,
            confirmed_at: self.confirmed_at,
            made_by: self.made_by.0,
            created_at: self.created_at,
            updated_at: self.updated_at,
            used_at: self.used_at,
        })
    }
}

/// pgvector's way to write a vector: `[1,0.5]`.
fn vector_text(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(ToString::to_string).collect();
    format!("[{}]", numbers.join(","))
}
