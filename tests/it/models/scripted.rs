//! A chat model that does what it is told, and a meter that counts.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use aegis::models::{
    chat::{Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, Finish, FinishReason, ModelError},
    meter::{Meter, Planned, Price, Reservation, Usage},
};
use async_trait::async_trait;
use futures::{StreamExt, stream};

/// One answer: what comes, in order, and the error that ends it if one does.
#[derive(Debug, Default)]
pub struct Answer {
    pub refused: Option<ModelError>,
    pub events: Vec<Result<ChatEvent, ModelError>>,
}

impl Answer {
    /// Says the words, one at a time, and is done.
    pub fn say(text: &str) -> Self {
        Self::default().text(text).done()
    }

    /// Does not even begin.
    pub fn refuse(error: ModelError) -> Self {
        Self { refused: Some(error), events: Vec::new() }
    }

    pub fn think(mut self, thought: &str) -> Self {
        self.events.push(Ok(ChatEvent::Thinking(thought.to_owned())));
        self
    }

    pub fn text(mut self, text: &str) -> Self {
        self.events.extend(text.split_inclusive(' ').map(|word| Ok(ChatEvent::Text(word.to_owned()))));
        self
    }

    pub fn fail(mut self, error: ModelError) -> Self {
        self.events.push(Err(error));
        self
    }

    pub fn done(self) -> Self {
        self.done_because(FinishReason::Stop)
    }

    pub fn done_because(mut self, reason: FinishReason) -> Self {
        self.events.push(Ok(ChatEvent::Done(Finish { reason, prompt_tokens: 10, completion_tokens: 5 })));
        self
    }
}

/// A model with a queue of answers; when it is empty, it says its own name.
pub struct Scripted {
    name: String,
    pub local: bool,
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<ChatRequest>>,
}

impl Scripted {
    pub fn new(name: &str, answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self::cloud(name, answers))
    }

    pub fn local(name: &str) -> Arc<Self> {
        Arc::new(Self { local: true, ..Self::cloud(name, []) })
    }

    fn cloud(name: &str, answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Mutex::new(answers.into_iter().collect());
        Self { name: name.to_owned(), local: false, answers, asked: Mutex::default() }
    }

    pub fn then(&self, answer: Answer) {
        self.answers.lock().unwrap().push_back(answer);
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait]
impl ChatModel for Scripted {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_local(&self) -> bool {
        self.local
    }

    async fn capabilities(&self) -> Result<Capabilities, ModelError> {
        Ok(Capabilities { tools: true, thinking: false, context_tokens: 8192, small: false, structured: true })
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ModelError> {
        self.asked.lock().unwrap().push(request);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Answer::say(&self.name));
        // Each piece comes in a turn of its own, as over a network.
        let pieces = stream::iter(answer.events).then(|event| async {
            tokio::task::yield_now().await;
            event
        });
        answer.refused.map_or_else(|| Ok(pieces.boxed()), Err)
    }
}

/// What became of one reservation.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    pub model: String,
    pub at_most: Usage,
    pub received: usize,
    pub end: End,
}

#[derive(Debug, Clone, PartialEq)]
pub enum End {
    Open,
    Settled(Option<Usage>),
    Dropped,
}

/// A meter with so many tokens for models that cost something; it keeps book.
#[derive(Default)]
pub struct Book {
    pub allows: bool,
    pub kept: Arc<Mutex<Vec<Kept>>>,
}

impl Book {
    pub fn allowing(allows: bool) -> Arc<Self> {
        Arc::new(Self { allows, kept: Arc::default() })
    }

    pub fn kept(&self) -> Vec<Kept> {
        self.kept.lock().unwrap().clone()
    }
}

struct Line(Arc<Mutex<Vec<Kept>>>, usize);

impl Line {
    fn with(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.0.lock().unwrap()[self.1]);
    }
}

#[async_trait]
impl Meter for Book {
    async fn reserve(&self, planned: &Planned<'_>) -> Result<Box<dyn Reservation>, ModelError> {
        tokio::task::yield_now().await;
        if planned.price != Price::Free && !self.allows {
            return Err(ModelError::OverBudget { message: "the budget of this month is used up".to_owned() });
        }
        let mut kept = self.kept.lock().unwrap();
        let (model, at_most) = (planned.model.to_owned(), planned.at_most);
        kept.push(Kept { model, at_most, received: 0, end: End::Open });
        Ok(Box::new(Line(self.kept.clone(), kept.len() - 1)))
    }
}

#[async_trait]
impl Reservation for Line {
    async fn settle(self: Box<Self>, used: Option<Usage>) {
        tokio::task::yield_now().await;
        self.with(|kept| {
            assert_eq!(kept.end, End::Open);
            kept.end = End::Settled(used);
        });
    }

    fn received(&mut self, bytes: usize) {
        self.with(|kept| kept.received += bytes);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.with(|kept| {
            if kept.end == End::Open {
                kept.end = End::Dropped;
            }
        });
    }
}
