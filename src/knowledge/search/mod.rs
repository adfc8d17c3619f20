//! Search: by meaning and by words at once, within what the reader may see.

mod alike;
pub(super) mod rerank;
pub(super) mod store;
mod stretch;

pub use rerank::Reranker;

use serde::Serialize;

use super::{Library, document::Passage, embedding, extract::Kind};
use crate::support::{
    Result,
    ids::{CollectionId, DocumentId, PassageId},
};

/// Characters of a question that are searched for.
const QUESTION_CHARS: usize = 2000;
/// The most hits that one search gives.
const MOST_HITS: usize = 50;
/// Candidates for each hit: some of them say the same as others.
const CANDIDATES: usize = 60;

/// What is searched; nothing named stands for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only documents of these collections.
    pub collections: Vec<CollectionId>,
    /// Only these documents, in their present version.
    pub documents: Vec<DocumentId>,
    /// Only documents of these formats.
    pub kinds: Vec<Kind>,
    /// Only documents whose name or folder has this in it, whatever its case.
    pub name: String,
}

/// A passage that a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// The passage.
    pub passage: Passage,
    /// Its document's title.
    pub title: String,
    /// The folders above the document.
    pub folder: String,
    /// The document's media type.
    pub media_type: String,
    /// Which version of the document it is.
    pub version: i32,
    /// The name of the collection that it is in.
    pub collection: String,
    /// From 0 to 1, where 1 is the best by vector and by words alike. Comparable within one search only.
    pub score: f32,
    /// How it came to be found.
    pub why: Why,
    /// Other passages that say the same, nearly word for word, and would have been found too.
    pub same: Vec<Same>,
}

/// How a passage came to be found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Why {
    /// Its place among the nearest by meaning, from 1, and the cosine similarity to the question.
    pub meaning: Option<(i64, f32)>,
    /// Its place among the best by words, from 1, and its weight there: the sum of its words' rarity, more where they
    /// stand close together.
    pub words: Option<(i64, f32)>,
    /// The question's words that it has, as they are searched: `leav, leaves`.
    pub matched: Vec<String>,
}

/// A passage that says the same as a hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Same {
    /// The passage.
    pub passage: PassageId,
    /// Its document.
    pub document: DocumentId,
    /// That document's title.
    pub title: String,
    /// Where in it.
    pub locator: String,
}

impl Library<'_> {
    /// The passages that fit `question` best, by meaning and by words, best first; at most `limit`, at most 50.
    ///
    /// When the embedding model does not answer, words alone decide, and the log says so.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn search(&self, question: &str, limit: usize) -> Result<Vec<Hit>> {
        self.search_in(&Filter::default(), question, limit).await
    }

    /// The same within what `filter` lets through.
    ///
    /// # Errors
    /// As for [`Library::search`].
    pub async fn search_in(&self, filter: &Filter, question: &str, limit: usize) -> Result<Vec<Hit>> {
        let question: String = question.trim().chars().filter(|c| *c != '\0').take(QUESTION_CHARS).collect();
        if question.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let embedding::Question { model, vector } = self.knowledge.embedding().question(self.db, &question).await?;
        let search = store::Search {
            question: &question,
            vector: vector.as_deref(),
            model: &model,
            limit: i64::try_from(CANDIDATES).unwrap_or(1),
        };
        let found = store::search(self.db.pool(), &self.reader, filter, &search).await?;
        let mut hits = alike::collapsed(found, limit.min(MOST_HITS));
        hits.truncate(limit.min(MOST_HITS));
        Ok(hits)
    }
}
