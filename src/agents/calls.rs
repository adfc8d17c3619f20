//! The tools' part of a step: the calls that a model made, and what it reads of their results.
//!
//! Calls that only read are made at once; those with effects one after the other, in the order of the calls, each after
//! somebody has allowed it where that is needed. What a run has read that others wrote taints it before the first of those.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};

use super::{
    approvals::asking::Leave,
    citations::Citation,
    event::{RunEvent, ToolCallSummary},
    journal::{Outcome, Record},
    memory::veil::REMEMBER,
    policy::{self, Policy, Verdict},
    progress::Progress,
    prompt,
    record::{self, elapsed_ms, lock},
    registry,
    steps::Bench,
    tool::{Effects, Tool, ToolContext, ToolOutput},
};
use crate::{
    audit::Action,
    models::chat::{Message, Speaker, ToolCall},
    support::Result,
};

/// The most calls that a model may make at once.
const CALLS_AT_ONCE: usize = 8;
/// What a model reads of a call that was cut off by the end of the process.
const UNKNOWN: &str = include_str!("prompts/unknown_outcome.md");

/// How the calls of a step ended.
pub(super) enum Called {
    /// All have a result. `circle`: all had been made before, so the model turns in a circle and has to answer.
    Done { circle: bool },
    /// Some have to be allowed first.
    Waiting,
}

/// A call that can be made.
pub(super) struct Ready<'c> {
    index: usize,
    pub(super) call: &'c ToolCall,
    pub(super) tool: Arc<dyn Tool>,
    /// Exactly what it will be given.
    pub(super) arguments: Value,
}

impl Bench<'_> {
    /// Calls tools and puts their results into the turns in the order of the calls.
    pub(super) async fn call_tools(
        &self,
        step: usize,
        calls: Vec<ToolCall>,
        progress: &mut Progress,
    ) -> Result<Called> {
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(calls.len());
        let (mut repeated, mut ready) = (0, Vec::new());
        for (index, call) in calls.iter().enumerate() {
            let made = (call.name.clone(), call.arguments.clone());
            let known = if progress.made.contains(&made) {
                repeated += 1;
                Some(Outcome::failed(include_str!("prompts/repeated_call.md").trim()))
            } else if index >= CALLS_AT_ONCE {
                Some(Outcome::failed(format!("not called: at most {CALLS_AT_ONCE} calls can be made at once")))
            } else {
                progress.made.push(made);
                self.started(call);
                let arguments = with_passage_ids(call.arguments.clone(), lock(&progress.sources).all());
                let known = self.tools.replayed(&call.id).or_else(|| self.journal.outcome(&call.id));
                let known = known.or_else(|| match self.tools.prepare(&call.name, arguments) {
                    Ok((tool, arguments)) => {
                        ready.push(Ready { index, call, tool, arguments });
                        None
                    }
                    Err(message) => Some(Outcome::failed(message)),
                });
                if let Some(outcome) = &known {
                    self.ended(call, outcome);
                }
                known
            };
            outcomes.push(known);
        }
        for (call, outcome) in calls.iter().zip(&outcomes) {
            self.taint_with(call, outcome.as_ref()).await?;
        }
        let waiting = self.make(ready, &calls, &mut outcomes, progress).await?;
        if waiting {
            return Ok(Called::Waiting);
        }

        // What goes back to a provider must be an object, whatever the model wrote; the log has it as it was.
        let object = |arguments: &Value| if arguments.is_object() { arguments.clone() } else { json!({}) };
        let said = calls.iter().map(|call| ToolCall { arguments: object(&call.arguments), ..call.clone() });
        let said = Message { tool_calls: said.collect(), ..Message::new(Speaker::Assistant, progress.text.trim()) };
        progress.turns.push(said);
        for (call, outcome) in calls.iter().zip(outcomes) {
            let outcome = outcome.unwrap_or_else(|| Outcome::failed("the call was lost"));
            self.take_result(step, call, outcome, progress).await?;
        }
        Ok(Called::Done { circle: repeated == calls.len() })
    }

    /// Makes the calls that can be made. True when some have to be allowed first.
    async fn make(
        &self,
        ready: Vec<Ready<'_>>,
        calls: &[ToolCall],
        outcomes: &mut [Option<Outcome>],
        progress: &mut Progress,
    ) -> Result<bool> {
        if ready.is_empty() {
            return Ok(false);
        }
        let policies = policy::store::all(&self.context.db).await?;
        let only_reads = |ready: &Ready<'_>| {
            ready.tool.effects() == Effects::None && self.verdict(&policies, ready) == Verdict::Allow
        };
        let (reading, others): (Vec<_>, Vec<_>) = ready.into_iter().partition(only_reads);
        if self.recalls {
            return Ok(true);
        }
        let mut running = FuturesUnordered::new();
        for Ready { index, call, tool, arguments } in reading {
            progress.calling.push((call.clone(), Instant::now()));
            let context = self.context_of(call);
            running.push(async move { (index, made(&*tool, &context, arguments).await) });
        }
        while let Some((index, outcome)) = running.next().await {
            self.journal.write(&Record::Ended { call: calls[index].id.clone(), outcome: outcome.clone() }).await?;
            self.ended(&calls[index], &outcome);
            outcomes[index] = Some(outcome);
        }
        drop(running);
        for (call, outcome) in calls.iter().zip(&*outcomes) {
            self.taint_with(call, outcome.as_ref()).await?;
        }

        let mut waiting = false;
        for ready in others {
            let verdict = self.verdict(&policies, &ready);
            let (index, call) = (ready.index, ready.call);
            let outcome = match self.leave(&ready, verdict).await? {
                Leave::Wait => {
                    waiting = true;
                    continue;
                }
                Leave::No(why) => Outcome::failed(why),
                // What comes after a call that waits waits with it.
                Leave::Go { .. } if waiting => continue,
                Leave::Go { exactly, edited } => self.make_one(ready, exactly, edited, progress).await?,
            };
            self.ended(call, &outcome);
            self.taint_with(call, Some(&outcome)).await?;
            outcomes[index] = Some(outcome);
        }
        Ok(waiting)
    }

    /// Makes a call with effects: at most once, unless the tool knows a repetition when it sees one.
    /// `exactly` is what somebody has allowed, `edited` whether they changed it first.
    async fn make_one(
        &self,
        ready: Ready<'_>,
        exactly: Option<Value>,
        edited: bool,
        progress: &mut Progress,
    ) -> Result<Outcome> {
        let Ready { call, tool, arguments, .. } = ready;
        let sends = exactly.unwrap_or(arguments);
        let sent = edited.then(|| sends.clone());
        if self.journal.began(&call.id) && !tool.knows_repetitions() {
            return Ok(Outcome { sent, ..Outcome::failed(UNKNOWN.trim()) });
        }
        self.journal.write(&Record::Began { call: call.id.clone() }).await?;
        progress.calling.push((call.clone(), Instant::now()));
        let outcome = Outcome { sent, ..made(&*tool, &self.context_of(call), sends).await };
        self.journal.write(&Record::Ended { call: call.id.clone(), outcome: outcome.clone() }).await?;
        Ok(outcome)
    }

    fn verdict(&self, policies: &[Policy], ready: &Ready<'_>) -> Verdict {
        let tainted = !lock(&self.has_read).is_empty();
        policy::verdict(policies, &ready.call.name, &self.context.agent, ready.tool.effects(), tainted)
    }

    fn context_of(&self, call: &ToolCall) -> ToolContext {
        ToolContext {
            idempotency_key: format!("{}/{}", self.context.run, call.id),
            has_read: lock(&self.has_read).clone(),
            ..self.context.clone()
        }
    }

    fn started(&self, call: &ToolCall) {
        self.events.send(RunEvent::ToolStarted { id: call.id.clone(), name: call.name.clone() });
    }

    fn ended(&self, call: &ToolCall, outcome: &Outcome) {
        let ToolCall { id, name, .. } = call.clone();
        let (summary, duration_ms) = (summary(&outcome.result), outcome.duration_ms);
        self.events.send(RunEvent::ToolFinished { id, name, summary, duration_ms });
    }

    async fn take_result(&self, step: usize, call: &ToolCall, outcome: Outcome, progress: &mut Progress) -> Result<()> {
        let Outcome { result, sent, duration_ms } = outcome;
        if let Ok(output) = &result {
            self.recorder.veil.hide_result(&call.name, &output.content);
        }
        if let Some(sent) = sent.as_ref().filter(|_| call.name == REMEMBER) {
            self.recorder.veil.hide_argument(&format!("{}, changed", call.id), sent);
        }
        let summary = summary(&result);
        let (mut text, detail) = match result {
            Ok(output) => {
                let known = lock(&progress.sources).all().len();
                let numbered = lock(&progress.sources).add(output.sources.clone());
                let text = prompt::tool_result(&call.name, &output, &numbered);
                if numbered.iter().any(|citation| citation.number as usize > known) {
                    self.events.send(RunEvent::Retrieved { sources: numbered.clone(), duration_ms });
                }
                let scores: Vec<f32> = output.sources.iter().map(|source| source.score).collect();
                let passages = record::passages(&numbered, &scores);
                let detail = json!({"outcome": "done", "content": output.content, "passages": passages});
                (text, detail)
            }
            Err(message) => {
                if message == UNKNOWN.trim() {
                    progress.unknown.push(call.name.clone());
                }
                (prompt::tool_error(&call.name, &message), json!({"outcome": "failed", "error": message}))
            }
        };
        let mut entry = json!({
            "step": step, "id": call.id, "arguments": call.arguments, "summary": summary, "duration_ms": duration_ms,
        });
        merge(&mut entry, detail);
        if let Some(sent) = sent {
            let told = sorted(&sent);
            text = format!("The person changed the call before allowing it; this was sent: {told}\n{text}");
            entry["sent"] = sent;
        }
        if !self.journal.is_noted(Action::ToolCalled, &call.id) {
            self.recorder.note(Action::ToolCalled, Some(&call.name), entry).await?;
        }
        progress.calling.retain(|(calling, _)| calling.id != call.id);
        progress.tool_calls.push(ToolCallSummary { name: call.name.clone(), summary, duration_ms });
        progress.turns.push(Message {
            tool_call_id: Some(call.id.clone()),
            tool_name: Some(call.name.clone()),
            ..Message::new(Speaker::Tool, text)
        });
        Ok(())
    }

    /// The run has read what a tool gave back: from now on it is tainted, if others wrote that.
    async fn taint_with(&self, call: &ToolCall, outcome: Option<&Outcome>) -> Result<()> {
        let Some(Outcome { result: Ok(output), .. }) = outcome else { return Ok(()) };
        let untrusted = self.tools.find(&call.name).is_some_and(|tool| tool.returns_untrusted_text());
        let place = ["url", "address"].iter().find_map(|name| call.arguments[name].as_str());
        let names: Vec<String> = match place {
            _ if !untrusted && output.sources.is_empty() => return Ok(()),
            _ if !output.sources.is_empty() => output.sources.iter().map(|source| source.title.clone()).collect(),
            Some(url) => vec![url.to_owned()],
            None => vec![call.name.clone()],
        };
        self.taint(names).await
    }
}

async fn made(tool: &dyn Tool, context: &ToolContext, arguments: Value) -> Outcome {
    let started = Instant::now();
    let result = registry::call(tool, context, arguments).await;
    Outcome { result, sent: None, duration_ms: elapsed_ms(started) }
}

/// A model knows passages by their numbers in this run, tools know them by their ids: an argument `passage_id` that is a
/// number becomes the id. (A model copies a number without fail, and an id of 36 characters not always.)
fn with_passage_ids(mut arguments: Value, sources: &[Citation]) -> Value {
    if let Some(given) = arguments.get_mut("passage_id") {
        let number = match &*given {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim_matches(['[', ']', ' ']).parse().ok(),
            _ => None,
        };
        if let Some(source) = sources.iter().find(|source| Some(u64::from(source.number)) == number) {
            *given = json!(source.passage_id);
        }
    }
    arguments
}

/// The same with names in their order, so that it reads alike wherever it was kept meanwhile.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields: BTreeMap<_, _> = map.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

fn summary(result: &Result<ToolOutput, String>) -> String {
    match result {
        Ok(output) => output.summary.clone(),
        Err(message) => message.clone(),
    }
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::citations::tests::passages, *};

    #[test]
    fn a_passage_may_be_named_by_its_number() {
        let sources = passages(&["one", "two"]);
        let id = json!({"passage_id": sources[1].passage_id});
        for written in [json!(2), json!("2"), json!("[2]"), id["passage_id"].clone()] {
            assert_eq!(with_passage_ids(json!({"passage_id": written}), &sources), id);
        }
        for other in [json!({"passage_id": 3}), json!({"passage_id": "x"}), json!({"from": 2}), json!(2)] {
            assert_eq!(with_passage_ids(other.clone(), &sources), other);
        }
    }
}
