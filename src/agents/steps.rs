//! The steps of a run: ask a model, call the tools that it wants, ask again, within limits. What the journal knows of a
//! step is taken from there.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    calls::Called,
    citations::{Citation, Sources},
    event::{EventSender, RunEvent},
    journal::{Journal, Record, Replied},
    limits::Limits,
    memory::{
        compaction::Cut,
        notes::{Recollection, Reminder},
    },
    program::Program,
    progress::{Ending, Given, Progress},
    prompt::{self, Material, Mode},
    record::{self, CallEnd, ModelCall, Recorder, elapsed_ms, lock},
    registry::Tools,
    soul::Profile,
    tool::{Retriever, ToolContext},
};
use crate::{
    audit::Action,
    models::{
        chat::{Capabilities, ChatEvent, FinishReason, Message, ModelError, ToolCall, ToolSpec},
        meter::{Cost, Usage},
        router::{Answering, Router},
    },
    support::{
        Error, Result,
        ids::{ConversationId, UserId},
    },
};

/// Who can be asked for leave, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asks {
    pub(super) conversation: ConversationId,
    pub(super) user: UserId,
}

/// What a run works with.
pub(super) struct Bench<'a> {
    pub(super) router: &'a Router,
    pub(super) retriever: &'a dyn Retriever,
    pub(super) tools: &'a Tools,
    pub(super) context: &'a ToolContext,
    pub(super) recorder: &'a Recorder,
    pub(super) events: &'a EventSender,
    pub(super) profile: &'a Profile,
    /// What costs are in.
    pub(super) currency: &'a str,
    pub(super) question: &'a str,
    pub(super) instructions: Option<&'a str>,
    /// What is searched for when the search is made for the model.
    pub(super) query: &'a str,
    pub(super) history: &'a [Message],
    /// What stands for the messages before the history.
    pub(super) cut: Option<&'a Cut>,
    /// Where it is reminded from.
    pub(super) recollection: Option<&'a Recollection>,
    pub(super) today: &'a str,
    /// What the asking program brought along.
    pub(super) program: &'a Program,
    pub(super) journal: &'a Journal,
    pub(super) limits: Limits,
    /// Who can be asked for leave; nobody in a run that nobody goes on with.
    pub(super) asks: Option<Asks>,
    /// What the run has read that others wrote.
    pub(super) has_read: Mutex<Vec<String>>,
    /// Whether it only remembers what was done, and does nothing new.
    pub(super) recalls: bool,
}

enum Reply {
    Recalled,
    NoModel,
    Failed(ModelError),
    Complete { given: Option<Given>, calls: Vec<ToolCall> },
}

impl Bench<'_> {
    /// Goes through the steps.
    ///
    /// # Errors
    /// When the database or the search fails; a model's failure is an [`Ending`].
    pub(super) async fn work(&self, progress: &mut Progress) -> Result<Ending> {
        let mut must_answer = false;
        progress.turns = self.program.turns();
        for step in 1..=self.limits.steps {
            let used = progress.prompt_tokens.saturating_add(progress.completion_tokens);
            if used >= self.limits.tokens && self.journal.reply(step).is_none() {
                return Ok(Ending::TooManyTokens);
            }
            // With less than a quarter left, another round of calls would leave no room for the answer.
            let last = must_answer || step == self.limits.steps || used > self.limits.tokens / 4 * 3;
            match self.ask(step, last, progress).await? {
                Reply::Recalled => return Ok(Ending::Recalled),
                Reply::NoModel => return Ok(Ending::NoModel),
                Reply::Failed(error) if progress.text.trim().is_empty() => {
                    tracing::warn!(run = %self.context.run, %error, "a model failed before it wrote a word");
                    return Ok(Ending::NoModel);
                }
                Reply::Failed(error) => return Ok(Ending::Broken(error)),
                Reply::Complete { calls, .. } if !last && !self.program.take(&calls).is_empty() => {
                    return Ok(Ending::Handed { calls: self.program.take(&calls) });
                }
                // Asked once more, for an answer under the schema that the program gave.
                Reply::Complete { calls, given: None }
                    if !last && calls.is_empty() && !self.program.accepts(&progress.text) =>
                {
                    progress.text.clear();
                    must_answer = true;
                }
                Reply::Complete { calls, given } if calls.is_empty() || last || given.is_some() => {
                    if !progress.text.trim().is_empty() {
                        return Ok(Ending::Answered { given });
                    }
                    if last {
                        break;
                    }
                    // A model that says nothing at all is asked once more, without tools.
                    must_answer = true;
                }
                Reply::Complete { calls, .. } => match self.call_tools(step, calls, progress).await? {
                    Called::Done { circle } => must_answer = circle,
                    Called::Waiting if self.recalls => return Ok(Ending::Recalled),
                    Called::Waiting => return Ok(Ending::Waiting),
                },
            }
        }
        Ok(Ending::NoModel)
    }

    /// What a model can do in this run: where there are no tools, it is of no use that it could call them. What was
    /// recorded is so already.
    fn usable(&self, capabilities: Capabilities) -> Capabilities {
        let tools = capabilities.tools
            && (self.recorder.is_replay() || self.tools.all().next().is_some() || !self.program.tools.is_empty());
        Capabilities { tools, ..capabilities }
    }

    /// What is found for the question itself; the search is made once in a run. Nothing for an agent that may not search.
    pub(super) async fn retrieved<'p>(
        &self,
        sources: &Mutex<Sources>,
        found: &'p OnceCell<Vec<Citation>>,
    ) -> Result<&'p [Citation]> {
        let citations = found.get_or_try_init(|| async {
            if !self.profile.searches() {
                return Ok(Vec::new());
            }
            let started = Instant::now();
            let (hits, duration_ms) = if let Some(known) = self.journal.searched() {
                known
            } else {
                let hits = self.retriever.retrieve(self.context, self.query, prompt::READING_PASSAGES).await?;
                let duration_ms = elapsed_ms(started);
                self.journal.write(&Record::Searched { sources: hits.clone(), duration_ms }).await?;
                (hits, duration_ms)
            };
            let scores: Vec<f32> = hits.iter().map(|hit| hit.score).collect();
            let numbered = lock(sources).add(hits);
            let passages = record::passages(&numbered, &scores);
            let detail = json!({"query": self.query, "passages": passages, "duration_ms": duration_ms});
            if !self.journal.is_noted(Action::KnowledgeSearched, "") {
                self.recorder.note(Action::KnowledgeSearched, None, detail).await?;
            }
            self.taint(numbered.iter().map(|citation| citation.document.clone()).collect()).await?;
            self.events.send(RunEvent::Retrieved { sources: numbered.clone(), duration_ms });
            Ok::<_, Error>(numbered)
        });
        citations.await.map(Vec::as_slice)
    }

    /// Asks the chain of models once and reads the answer to its end.
    async fn ask(&self, step: usize, last: bool, progress: &mut Progress) -> Result<Reply> {
        if !progress.text.is_empty() {
            let said = std::mem::take(&mut progress.text);
            progress.earlier.push_str(&said);
            progress.earlier.push_str("\n\n");
        }
        Box::pin(self.remind(&progress.notes)).await?;
        if let Some(replied) = self.journal.reply(step) {
            return self.recall(replied, progress).await;
        }
        if self.recalls {
            return Ok(Reply::Recalled);
        }
        let call = Arc::new(ModelCall::begin(step));
        progress.asking = Some(call.clone());
        let specs = self.program.offer(self.tools.specs());
        let problem = Mutex::new(None);
        let given = Mutex::new(Vec::new());
        let Progress { sources, retrieved, turns, notes, .. } = &*progress;
        let reminder = Reminder { notes: notes.get().map_or(&[][..], Vec::as_slice), cut: self.cut };
        let answering = self.router.chat_prepared(
            |capabilities| {
                let (call, problem, given, specs) = (&call, &problem, &given, &specs);
                async move {
                    let capabilities = self.usable(capabilities);
                    let passages = match Mode::of(capabilities) {
                        Mode::Tools => &[],
                        Mode::Reading | Mode::Small => {
                            self.retrieved(sources, retrieved).await.unwrap_or_else(|error| {
                                *lock(problem) = Some(error);
                                &[]
                            })
                        }
                    };
                    let mut prepared = prompt::prepare(
                        Material { reminder, ..self.material(turns, passages, specs, last) },
                        capabilities,
                    );
                    self.program.shape(&mut prepared.request);
                    let request = prepared.request.clone();
                    lock(given).clone_from(&prepared.passages);
                    call.asks(capabilities, prepared);
                    request
                }
                .boxed()
            },
            |model, event| self.before_the_first_word(&call, model, event),
        );
        let answering = answering.await;
        if let Some(error) = lock(&problem).take() {
            return Err(error);
        }
        match answering {
            Ok(answering) => {
                let given = std::mem::take(&mut *lock(&given));
                self.read(&call, answering, given, progress).await
            }
            Err(no_model) => {
                progress.asking = None;
                let end =
                    CallEnd { attempts: &no_model.attempts, error: Some(no_model.to_string()), ..CallEnd::default() };
                self.recorder.note(Action::ModelFailed, None, call.detail("failed", &end)).await?;
                Ok(Reply::NoModel)
            }
        }
    }

    /// What a model said in this step before the process ended.
    async fn recall(&self, replied: &Replied, progress: &mut Progress) -> Result<Reply> {
        let mode = Mode::of(replied.capabilities);
        if mode != Mode::Tools {
            self.retrieved(&progress.sources, &progress.retrieved).await?;
        }
        self.recorder.veil.hide_calls(&replied.calls);
        progress.model = Some(replied.model.clone());
        progress.prompt_tokens += replied.prompt_tokens;
        progress.completion_tokens += replied.completion_tokens;
        progress.cost.add(replied.cost.micros, &replied.cost.currency);
        self.text(&replied.text, progress);
        if !self.journal.is_noted(Action::ModelCalled, &replied.step.to_string()) {
            self.recorder.note(Action::ModelCalled, Some(&replied.model), replied.detail.clone()).await?;
        }
        progress.ids.extend(replied.calls.iter().map(|call| call.id.clone()));
        let given = Given { passages: replied.given.clone(), small: mode == Mode::Small };
        Ok(Reply::Complete { given: (mode != Mode::Tools).then_some(given), calls: replied.calls.clone() })
    }

    fn material<'m>(
        &'m self,
        turns: &'m [Message],
        passages: &'m [Citation],
        tools: &'m [ToolSpec],
        last: bool,
    ) -> Material<'m> {
        Material {
            profile: self.profile,
            today: self.today,
            question: self.question,
            instructions: self.instructions,
            query: self.query,
            history: self.history,
            reminder: Reminder::default(),
            turns,
            passages,
            tools,
            steps: self.limits.steps.saturating_sub(1),
            last,
        }
    }

    fn before_the_first_word(&self, call: &ModelCall, model: &str, event: ChatEvent) {
        match event {
            ChatEvent::Loading => self.events.send(RunEvent::Loading { model: model.to_owned() }),
            ChatEvent::Thinking(text) => {
                call.thinks(&text);
                self.events.send(RunEvent::Thinking { text });
            }
            ChatEvent::Text(_) | ChatEvent::ToolCall(_) | ChatEvent::Done(_) => {}
        }
    }

    async fn read(
        &self,
        call: &ModelCall,
        answering: Answering,
        given: Vec<u32>,
        progress: &mut Progress,
    ) -> Result<Reply> {
        let Answering { model, capabilities, mut stream, attempts, why, price, .. } = answering;
        let capabilities = self.usable(capabilities);
        let first_piece_ms = call.elapsed_ms();
        progress.model = Some(model.clone());
        let (mut calls, mut ended) = (Vec::new(), None);
        while let Some(event) = stream.next().await {
            match event {
                Ok(ChatEvent::Text(text)) => self.text(&text, progress),
                Ok(ChatEvent::ToolCall(asked)) => calls.push(self.named(asked, call.step(), progress)),
                Ok(ChatEvent::Done(finish)) => {
                    ended = Some(Ok(finish));
                    break;
                }
                Ok(event @ (ChatEvent::Loading | ChatEvent::Thinking(_))) => {
                    self.before_the_first_word(call, &model, event);
                }
                Err(error) => {
                    ended = Some(Err(error));
                    break;
                }
            }
        }
        drop(stream);
        self.recorder.veil.hide_calls(&calls);
        let ended = ended.unwrap_or_else(|| Err(ModelError::Server { message: "the answer broke off".to_owned() }));
        let finish = ended.as_ref().ok();
        progress.cut = finish.is_some_and(|finish| finish.reason == FinishReason::Length);
        let end = CallEnd {
            attempts: &attempts,
            why: Some(&why),
            price: Some(price),
            error: ended.as_ref().err().map(ToString::to_string),
            text: &progress.text,
            tool_calls: &calls,
            finish,
            first_piece_ms: Some(first_piece_ms),
        };
        let mut detail = call.detail(if finish.is_some() { "answered" } else { "failed" }, &end);
        let used = finish
            .map(|finish| Usage { prompt_tokens: finish.prompt_tokens, completion_tokens: finish.completion_tokens });
        let mut cost = Cost::default();
        cost.add(used.map_or(Some(0), |used| price.micros(used)), self.currency);
        detail["cost"] = json!(cost);
        progress.cost.add(cost.micros, self.currency);
        let (prompt_tokens, completion_tokens) =
            finish.map_or((0, 0), |finish| (finish.prompt_tokens, finish.completion_tokens));
        progress.prompt_tokens += prompt_tokens;
        progress.completion_tokens += completion_tokens;
        if finish.is_some() {
            let replied = Replied {
                step: call.step(),
                model: model.clone(),
                capabilities,
                text: progress.text.clone(),
                calls: calls.clone(),
                given: given.clone(),
                prompt_tokens,
                completion_tokens,
                cost,
                detail: detail.clone(),
            };
            self.journal.write(&Record::Replied(replied)).await?;
        }
        self.recorder.note(Action::ModelCalled, Some(&model), detail).await?;
        progress.asking = None;
        match ended {
            Ok(_) => {
                let mode = Mode::of(capabilities);
                let given = (mode != Mode::Tools).then_some(Given { passages: given, small: mode == Mode::Small });
                Ok(Reply::Complete { given, calls })
            }
            Err(error) => Ok(Reply::Failed(error)),
        }
    }

    /// More of the answer. Blank lines before the first word are nobody's.
    fn text(&self, text: &str, progress: &mut Progress) {
        let text = text.replace('\0', "");
        let text = if progress.text.is_empty() { text.trim_start() } else { &text };
        if text.is_empty() {
            return;
        }
        let break_before = progress.text.is_empty() && !progress.earlier.is_empty();
        progress.text.push_str(text);
        self.events.send(RunEvent::Text { text: format!("{}{text}", if break_before { "\n\n" } else { "" }) });
    }

    /// A call under its tool's name and an identifier that no other call of the run has, since by that it is known
    /// whether it was made.
    fn named(&self, call: ToolCall, step: usize, progress: &mut Progress) -> ToolCall {
        let mut id = call.id.replace('\0', "");
        if id.is_empty() || progress.ids.contains(&id) {
            id = format!("{id}#{step}.{}", progress.ids.len());
        }
        progress.ids.insert(id.clone());
        let name = call.name.replace('\0', "");
        let name = match self.program.tool(&name) {
            Some(tool) => tool.name.clone(),
            None => self.tools.canonical_name(&name),
        };
        let arguments = match call.arguments {
            Value::Null => json!({}),
            Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            other => other,
        };
        ToolCall { id, name, arguments }
    }
}
