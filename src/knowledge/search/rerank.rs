//! A second look at what was found: a chat model reads the passages and says which of them answer the question. It only ever
//! changes their order: whatever it answers, nothing is made up, and nothing is given that the search had not found.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::json;

use super::Hit;
use crate::{
    models::{
        Router,
        chat::{Capabilities, ChatEvent, ChatRequest, Message, Speaker},
        meter::Meter,
    },
    support::{Error, Result},
};

/// How long the second look may take; after that the search's own order stands.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most characters of a passage that are looked at.
const PASSAGE_CHARACTERS: usize = 800;
/// Tokens of the answer, with what a model thinks aloud before it.
const ANSWER_TOKENS: u32 = 1024;

/// Puts hits into the order in which a chat model finds them helpful.
#[derive(Clone)]
pub struct Reranker {
    router: Router,
}

/// What a second look came to.
pub(in crate::knowledge) struct Reranked {
    /// Every hit that came in.
    pub hits: Vec<Hit>,
    /// The model whose order it is; none when the search's own stands.
    pub by: Option<String>,
}

#[derive(Deserialize)]
struct Judged {
    best: Vec<usize>,
}

impl Reranker {
    /// Asks along the router's route.
    pub fn new(router: Router) -> Self {
        Self { router }
    }

    /// `hits` with those first that help to answer `question`, the others behind them as they were.
    ///
    /// When no model answers in time, when the budget forbids it or when the answer says nothing, they stay as they were,
    /// and the log says why.
    pub(in crate::knowledge) async fn rerank(&self, meter: Arc<dyn Meter>, question: &str, hits: Vec<Hit>) -> Reranked {
        if hits.len() < 2 {
            return Reranked { hits, by: None };
        }
        let judging = tokio::time::timeout(PATIENCE, self.judge(meter, question, &hits));
        let judged = judging.await.unwrap_or_else(|_| Err(Error::unavailable("it took too long")));
        match judged {
            Ok((model, best)) => Reranked { hits: first(hits, &best), by: Some(model) },
            Err(error) => {
                tracing::warn!(%error, "what was found stands in the search's own order");
                Reranked { hits, by: None }
            }
        }
    }

    async fn judge(&self, meter: Arc<dyn Meter>, question: &str, hits: &[Hit]) -> Result<(String, Vec<usize>)> {
        let router = self.router.metered(meter);
        let answering = router.chat(|capabilities| request(*capabilities, question, hits)).await;
        let answering = answering.map_err(|none| Error::unavailable(none.to_string()))?;
        let (mut stream, mut text) = (answering.stream, String::new());
        while let Some(event) = stream.next().await {
            if let ChatEvent::Text(piece) = event.map_err(|error| Error::unavailable(error.to_string()))? {
                text.push_str(&piece);
            }
        }
        let best = understood(&text, hits.len());
        let best = best.ok_or_else(|| Error::unavailable(format!("{} gave no order", answering.model)))?;
        Ok((answering.model, best))
    }
}

fn request(capabilities: Capabilities, question: &str, hits: &[Hit]) -> ChatRequest {
    // Half of what the model reads, at three characters a token.
    let room = capabilities.context_tokens as usize * 3 / 2 / hits.len();
    let told = hits.iter().zip(1..).map(|(hit, number)| {
        let text: String = hit.passage.text.chars().take(room.min(PASSAGE_CHARACTERS)).collect();
        json!({ "number": number, "document": hit.title, "place": hit.passage.locator, "text": disarmed(&text) })
    });
    let told = json!({ "question": question, "passages": told.collect::<Vec<_>>() });
    ChatRequest {
        messages: vec![
            Message::new(Speaker::System, include_str!("../prompts/rerank.md").trim()),
            Message::new(Speaker::User, told.to_string()),
        ],
        tools: Vec::new(),
        max_tokens: Some(ANSWER_TOKENS),
        temperature: Some(0.0),
        schema: Some(json!({
            "type": "object",
            "properties": { "best": { "type": "array", "items": { "type": "integer" } } },
            "required": ["best"],
            "additionalProperties": false
        })),
    }
}

/// Without what templates of chat models take for the end of a turn. JSON keeps the rest of a passage in its place.
fn disarmed(text: &str) -> String {
    text.replace("<|", "‹|").replace("|>", "|›")
}

/// The places that an answer names, from 0, each once. `None` when it names none that there is.
fn understood(answer: &str, hits: usize) -> Option<Vec<usize>> {
    let json = answer.get(answer.find('{')?..=answer.rfind('}')?)?;
    let Judged { best } = serde_json::from_str(json).ok()?;
    let mut places: Vec<usize> = Vec::with_capacity(hits);
    for place in best.into_iter().filter_map(|number| number.checked_sub(1)).filter(|place| *place < hits) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    (!places.is_empty()).then_some(places)
}

/// `all` with the places `best` first.
fn first<T>(all: Vec<T>, best: &[usize]) -> Vec<T> {
    let mut ranked: Vec<(usize, T)> = all
        .into_iter()
        .enumerate()
        .map(|(place, one)| (best.iter().position(|known| *known == place).unwrap_or(best.len() + place), one))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_order_is_taken_from_what_a_model_wrote_round_it_and_nothing_else_is() {
        assert_eq!(understood("Sure:\n```json\n{\"best\": [3, 1, 3, 9, 0]}\n```", 4), Some(vec![2, 0]));
        for nothing in
            ["", "{", "}{", "{\"best\": []}", "{\"best\": [7]}", "{\"best\": \"all\"}", "[1, 2]", "{\"best\": [-1]}"]
        {
            assert_eq!(understood(nothing, 4), None, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_answered_nothing_is_lost_and_nothing_made_up(
            hits in 0_usize..20,
            named in prop::collection::vec(0_usize..25, 0..30),
        ) {
            let answer = json!({ "best": named }).to_string();
            let best = understood(&answer, hits).unwrap_or_default();
            let mut ranked = first((0..hits).collect(), &best);
            prop_assert_eq!(&ranked[..best.len()], &best[..]);
            prop_assert!(ranked[best.len()..].is_sorted());
            ranked.sort_unstable();
            prop_assert_eq!(ranked, (0..hits).collect::<Vec<_>>());
        }
    }
}
