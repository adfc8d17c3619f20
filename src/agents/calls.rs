//! The tools' part of a step: the calls that a model made, all at once, and what it reads of their results.

use std::time::Instant;

use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};

use super::{
    citations::Citation,
    event::{RunEvent, ToolCallSummary},
    prompt,
    record::{self, elapsed_ms, lock},
    steps::{Bench, Progress},
    tool::ToolOutput,
};
use crate::{
    audit::Action,
    models::chat::{Message, Speaker, ToolCall},
    support::Result,
};

/// The most calls that a model may make at once.
const CALLS_AT_ONCE: usize = 8;

impl Bench<'_> {
    /// Calls tools, all at once, and puts their results into the turns in the order of the calls. True when all calls had
    /// been made before: then the model turns in a circle and has to answer.
    pub(super) async fn call_tools(&self, step: usize, calls: Vec<ToolCall>, progress: &mut Progress) -> Result<bool> {
        let mut results: Vec<Option<Result<ToolOutput, String>>> = Vec::with_capacity(calls.len());
        let mut repeated = 0;
        let running = FuturesUnordered::new();
        for (index, call) in calls.iter().enumerate() {
            let made = (call.name.clone(), call.arguments.clone());
            if progress.made.contains(&made) {
                repeated += 1;
                results.push(Some(Err(include_str!("prompts/repeated_call.md").trim().to_owned())));
            } else if index >= CALLS_AT_ONCE {
                results.push(Some(Err(format!("not called: at most {CALLS_AT_ONCE} calls can be made at once"))));
            } else {
                progress.made.push(made);
                progress.calling.push((call.clone(), Instant::now()));
                results.push(None);
                self.events.send(RunEvent::ToolStarted { id: call.id.clone(), name: call.name.clone() });
                let arguments = with_passage_ids(call.arguments.clone(), lock(&progress.sources).all());
                running.push(async move {
                    let started = Instant::now();
                    let result = self.tools.call(self.context, &call.id, &call.name, arguments).await;
                    (index, result, elapsed_ms(started))
                });
            }
        }
        let mut durations = vec![0; calls.len()];
        let mut running = running;
        while let Some((index, result, duration_ms)) = running.next().await {
            let ToolCall { id, name, .. } = calls[index].clone();
            self.events.send(RunEvent::ToolFinished { id, name, summary: summary(&result), duration_ms });
            durations[index] = duration_ms;
            results[index] = Some(result);
        }
        drop(running);

        // What goes back to a provider must be an object, whatever the model wrote; the log has it as it was.
        let object = |arguments: &Value| if arguments.is_object() { arguments.clone() } else { json!({}) };
        let said = calls.iter().map(|call| ToolCall { arguments: object(&call.arguments), ..call.clone() });
        let said = Message { tool_calls: said.collect(), ..Message::new(Speaker::Assistant, progress.text.trim()) };
        progress.turns.push(said);
        for ((call, result), duration_ms) in calls.iter().zip(results).zip(durations) {
            let result = result.unwrap_or_else(|| Err("the call was lost".to_owned()));
            self.take_result(step, call, result, duration_ms, progress).await?;
        }
        Ok(repeated == calls.len())
    }

    async fn take_result(
        &self,
        step: usize,
        call: &ToolCall,
        result: Result<ToolOutput, String>,
        duration_ms: u64,
        progress: &mut Progress,
    ) -> Result<()> {
        let summary = summary(&result);
        let (text, detail) = match result {
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
            Err(message) => (prompt::tool_error(&call.name, &message), json!({"outcome": "failed", "error": message})),
        };
        let mut entry = json!({
            "step": step, "id": call.id, "arguments": call.arguments, "summary": summary, "duration_ms": duration_ms,
        });
        merge(&mut entry, detail);
        self.recorder.note(Action::ToolCalled, Some(&call.name), entry).await?;
        progress.calling.retain(|(calling, _)| calling.id != call.id);
        progress.tool_calls.push(ToolCallSummary { name: call.name.clone(), summary, duration_ms });
        progress.turns.push(Message {
            tool_call_id: Some(call.id.clone()),
            tool_name: Some(call.name.clone()),
            ..Message::new(Speaker::Tool, text)
        });
        Ok(())
    }
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
