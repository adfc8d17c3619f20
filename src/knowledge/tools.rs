//! What agents may do with the knowledge base: search it and read on. Neither changes anything.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Filter, Hit, Knowledge, Library, Passage, Reader,
    search::{Reranker, rerank::Reranked},
};
use crate::{
    accounts::Accounts,
    agents::tool::{Retriever, Source, Tool, ToolContext, ToolOutput},
    audit::Actor,
    models::{budget::Budgets, chat::ToolSpec},
    support::{
        Error, Result,
        ids::{DocumentId, PassageId},
    },
};

/// Hits that a search gives when the model does not say how many.
const USUAL_HITS: usize = 5;
/// The most hits that a model may ask for.
const MOST_HITS: usize = 10;
/// Hits that a chat model is shown to put them in order.
const LOOKED_AT: usize = 15;
/// The most passages that are read at once.
const MOST_READ: i32 = 8;

/// The knowledge base as agents see it: what the agent and whoever asked it may both read, at the moment of each call.
#[derive(Clone)]
pub struct Shelves {
    knowledge: Knowledge,
    accounts: Accounts,
    second_look: Option<(Reranker, Budgets)>,
}

/// `knowledge.search`
#[derive(Clone)]
pub struct SearchTool(pub Shelves);

/// `knowledge.read`
#[derive(Clone)]
pub struct ReadTool(pub Shelves);

/// Finds passages for models that cannot search by themselves.
#[derive(Clone)]
pub struct KnowledgeRetriever(pub Shelves);

impl Shelves {
    /// The knowledge base, and who may do what.
    pub fn new(knowledge: Knowledge, accounts: Accounts) -> Self {
        Self { knowledge, accounts, second_look: None }
    }

    /// Lets a chat model put what is found into order, within the budgets of the agent that searches.
    #[must_use]
    pub fn with_reranker(self, reranker: Reranker, budgets: Budgets) -> Self {
        Self { second_look: Some((reranker, budgets)), ..self }
    }

    async fn open<'a>(&'a self, context: &'a ToolContext) -> Result<Library<'a>> {
        let asked_by = match &context.actor {
            Actor::User { id } => {
                let role = self.accounts.role_of(context.db.tenant(), *id).await?;
                role.map_or_else(Reader::nobody, Reader::person)
            }
            Actor::Operator | Actor::System => Reader::everything(),
            Actor::Agent { .. } => Reader::nobody(),
        };
        Ok(self.knowledge.open(&context.db, asked_by.through(&context.agent)))
    }

    /// The best `limit` stretches for `question`, and the model that put them in order, if one did.
    async fn find(&self, context: &ToolContext, within: &Within, question: &str, limit: usize) -> Result<Reranked> {
        let library = self.open(context).await?;
        let filter = within.filter(&library).await?;
        let Some((reranker, budgets)) = &self.second_look else {
            return Ok(Reranked { hits: library.stretches(&filter, question, limit).await?, by: None });
        };
        let hits = library.stretches(&filter, question, limit.max(LOOKED_AT)).await?;
        let meter = budgets.meter(&context.db, &context.agent, context.run);
        let mut ordered = reranker.rerank(meter, question, hits).await;
        ordered.hits.truncate(limit);
        Ok(ordered)
    }
}

/// What a search is to be made in, as a model names it.
#[derive(Default, Deserialize)]
struct Within {
    document: Option<String>,
    collection: Option<String>,
}

impl Within {
    async fn filter(&self, library: &Library<'_>) -> Result<Filter> {
        let mut filter = Filter { name: self.document.clone().unwrap_or_default(), ..Filter::default() };
        if let Some(name) = self.collection.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
            let collections = library.collections().await?;
            let found = collections.iter().find(|collection| collection.name.to_lowercase() == name.to_lowercase());
            let names = || collections.iter().map(|collection| collection.name.as_str()).collect::<Vec<_>>().join(", ");
            let missing = || Error::invalid(format!("there is no collection called {name}; there are: {}", names()));
            filter.collections.push(found.ok_or_else(missing)?.id);
        }
        Ok(filter)
    }
}

#[derive(Deserialize)]
struct SearchArguments {
    query: String,
    limit: Option<usize>,
    #[serde(flatten)]
    within: Within,
}

#[derive(Deserialize)]
struct ReadArguments {
    passage_id: Option<String>,
    document_id: Option<String>,
    from: Option<i32>,
    to: Option<i32>,
}

#[async_trait]
impl Tool for SearchTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "knowledge.search".to_owned(),
            description: "Searches the organisation's documents and returns the passages that fit best, each with its \
                          document, its place in it and its id. Use it before answering any question that documents may answer."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "query": { "type": "string", "description": "What to look for, in the words that a document would use" },
                    "limit": { "type": "integer", "minimum": 1, "maximum": MOST_HITS, "description": "How many passages" },
                    "document": { "type": "string", "description": "Only in documents that have this in their name" },
                    "collection": { "type": "string", "description": "Only in the collection of this name" }
                },
                "required": ["query"],
                "additionalProperties": false
            }),
        }
    }

    fn returns_untrusted_text(&self) -> bool {
        true
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput> {
        let arguments: SearchArguments = understand(arguments)?;
        if arguments.query.trim().is_empty() {
            return Err(Error::invalid("the query is empty; say what to look for"));
        }
        let limit = arguments.limit.unwrap_or(USUAL_HITS).clamp(1, MOST_HITS);
        let Reranked { hits, by } = self.0.find(context, &arguments.within, &arguments.query, limit).await?;
        let sources: Vec<Source> = hits.into_iter().map(Source::from).collect();
        let told = if sources.is_empty() {
            json!({ "passages": [], "note": "No document says anything on this." })
        } else {
            json!({ "passages": sources.iter().map(shown).collect::<Vec<_>>() })
        };
        let summary = counted(sources.len());
        let summary = by.map_or_else(|| summary.clone(), |model| format!("{summary}, put in order by {model}"));
        Ok(ToolOutput { summary, content: told, sources })
    }
}

#[async_trait]
impl Tool for ReadTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "knowledge.read".to_owned(),
            description: "Reads on in a document: the passage with this id and the ones before and after it, or a range of a \
                          document's passages. Use it when a passage found by knowledge.search breaks off or needs its surroundings."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "passage_id": { "type": "string", "description": "The id of a passage that knowledge.search gave" },
                    "document_id": { "type": "string", "description": "Instead of passage_id: a document's id, with from and to" },
                    "from": { "type": "integer", "minimum": 0, "description": "The first passage, counted from 0" },
                    "to": { "type": "integer", "minimum": 0, "description": "The last passage" }
                },
                "additionalProperties": false
            }),
        }
    }

    fn returns_untrusted_text(&self) -> bool {
        true
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput> {
        let arguments: ReadArguments = understand(arguments)?;
        let library = self.0.open(context).await?;
        let (document, from, to) = match (&arguments.passage_id, &arguments.document_id) {
            (Some(passage), _) => {
                let id: PassageId = passage.parse()?;
                let passage = library.passage(id).await?;
                let passage = passage.ok_or_else(|| Error::not_found("the passage"))?;
                (passage.document, passage.ordinal - 1, passage.ordinal + 1)
            }
            (None, Some(document)) => {
                let document: DocumentId = document.parse()?;
                let from = arguments.from.unwrap_or(0).max(0);
                let to = arguments.to.unwrap_or(from.saturating_add(2));
                (document, from, to.clamp(from, from.saturating_add(MOST_READ - 1)))
            }
            (None, None) => return Err(Error::invalid("give passage_id, or document_id with from and to")),
        };
        let title = library.document(document).await?.ok_or_else(|| Error::not_found("the document"))?.title;
        let passages = library.passages_between(document, from, to).await?;
        let sources: Vec<Source> = passages.into_iter().map(|passage| source(passage, title.clone(), 0.0)).collect();
        let told = json!({ "passages": sources.iter().map(shown).collect::<Vec<_>>() });
        Ok(ToolOutput { summary: counted(sources.len()), content: told, sources })
    }
}

#[async_trait]
impl Retriever for KnowledgeRetriever {
    async fn retrieve(&self, context: &ToolContext, question: &str, limit: usize) -> Result<Vec<Source>> {
        Ok(self
            .0
            .find(context, &Within::default(), question, limit)
            .await?
            .hits
            .into_iter()
            .map(Source::from)
            .collect())
    }
}

impl From<Hit> for Source {
    fn from(hit: Hit) -> Self {
        source(hit.passage, hit.title, hit.score)
    }
}

fn source(passage: Passage, title: String, score: f32) -> Source {
    Source {
        passage: passage.id,
        document: passage.document,
        title,
        locator: passage.locator,
        text: passage.text,
        score,
    }
}

/// A source as the model reads it.
fn shown(source: &Source) -> Value {
    json!({
        "passage_id": source.passage,
        "document_id": source.document,
        "document": source.title,
        "place": source.locator,
        "text": source.text,
    })
}

fn understand<T: serde::de::DeserializeOwned>(arguments: Value) -> Result<T> {
    serde_json::from_value(arguments).map_err(|error| Error::invalid(format!("the arguments do not fit: {error}")))
}

fn counted(passages: usize) -> String {
    if passages == 1 { "1 passage".to_owned() } else { format!("{passages} passages") }
}
