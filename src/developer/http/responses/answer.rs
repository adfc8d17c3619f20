//! A response as an object, whole and in the events that it comes in.

use serde_json::{Value, json};

use super::super::{failed, refusal, stream::Written};
use crate::{
    agents::{Answer, ProgramCall, RunEvent},
    developer::annotations::Annotation,
    http::{context::RequestContext, error::in_sentences},
};

/// What a response repeats of what was asked.
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created_at: i64,
    pub(super) model: String,
    pub(super) instructions: Option<String>,
    pub(super) previous_response_id: Option<String>,
    pub(super) stored: bool,
    pub(super) tools: Vec<Value>,
    pub(super) tool_choice: Value,
    pub(super) parallel: bool,
    pub(super) format: Value,
    pub(super) max_output_tokens: Option<u32>,
    pub(super) temperature: Option<f32>,
}

impl Head {
    fn with(&self, status: &str, output: &[Value]) -> Value {
        json!({
            "id": self.id, "object": "response", "created_at": self.created_at, "status": status, "output": output,
            "model": self.model, "instructions": self.instructions, "store": self.stored, "background": false,
            "previous_response_id": self.previous_response_id, "tools": self.tools, "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel, "text": {"format": self.format},
            "max_output_tokens": self.max_output_tokens, "temperature": self.temperature, "top_p": null,
            "reasoning": {"effort": null, "summary": null}, "truncation": "disabled", "metadata": {},
            "error": null, "incomplete_details": null, "usage": null, "user": null,
        })
    }

    /// The response at its end.
    pub(super) fn finished(&self, answer: &Answer, output: &[Value]) -> Value {
        let mut response = self.with(if answer.cut { "incomplete" } else { "completed" }, output);
        if answer.cut {
            response["incomplete_details"] = json!({"reason": "max_output_tokens"});
        }
        let (input, output) = (answer.prompt_tokens, answer.completion_tokens);
        response["usage"] = json!({
            "input_tokens": input, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input.saturating_add(output),
        });
        response
    }
}

/// What a response says: its text, if there is any, and the calls of the program's functions.
pub(super) fn output(
    id: &str,
    text: &str,
    refused: Option<&str>,
    annotations: &[Annotation],
    calls: &[ProgramCall],
) -> Vec<Value> {
    let mut output = Vec::new();
    if calls.is_empty() || !text.is_empty() {
        let part = refused.map_or_else(|| written(text, annotations), |why| json!({"type": "refusal", "refusal": why}));
        output.push(message(id, "completed", &[part]));
    }
    output.extend(calls.iter().map(|call| function_call(call, "completed", &call.arguments.to_string())));
    output
}

fn message(id: &str, status: &str, content: &[Value]) -> Value {
    let id = id.replacen("resp_", "msg_", 1);
    json!({"type": "message", "id": id, "status": status, "role": "assistant", "content": content})
}

fn written(text: &str, annotations: &[Annotation]) -> Value {
    let annotations: Vec<Value> = annotations
        .iter()
        .map(|annotation| {
            let mut value = json!(annotation);
            value["type"] = json!("url_citation");
            value
        })
        .collect();
    json!({"type": "output_text", "text": text, "annotations": annotations, "logprobs": []})
}

fn function_call(call: &ProgramCall, status: &str, arguments: &str) -> Value {
    json!({
        "type": "function_call", "id": format!("fc_{}", call.id), "call_id": call.id, "name": call.name,
        "status": status, "arguments": arguments,
    })
}

/// Tells the events of a response as those of its run come.
pub(super) struct Teller {
    head: Head,
    structured: bool,
    written: Written,
    /// Whether the message has been begun.
    begun: bool,
    number: u64,
}

impl Teller {
    pub(super) fn new(head: Head, structured: bool, context: &RequestContext) -> Self {
        Self { head, structured, written: Written::nothing(context), begun: false, number: 0 }
    }

    /// What an event of the run is told as.
    pub(super) fn tell(&mut self, event: RunEvent) -> Vec<Value> {
        self.written.take(&event);
        let mut events = Vec::new();
        match event {
            RunEvent::Started { .. } => {
                let response = self.head.with("in_progress", &[]);
                events.push(json!({"type": "response.created", "response": response}));
                events.push(json!({"type": "response.in_progress", "response": response}));
            }
            RunEvent::Text { text } if !self.structured => self.text(&text, &mut events),
            RunEvent::Finished(answer) => self.finish(&answer, &mut events),
            RunEvent::Failed { message, remedy } => {
                let mut response = self.head.with("failed", &[]);
                let message = in_sentences(&failed(message, remedy));
                response["error"] = json!({"code": "server_error", "message": message});
                events.push(json!({"type": "response.failed", "response": response}));
            }
            _ => {}
        }
        for event in &mut events {
            event["sequence_number"] = json!(self.number);
            self.number += 1;
        }
        events
    }

    /// More of the answer; the first piece begins the message.
    fn text(&mut self, text: &str, events: &mut Vec<Value>) {
        let place = self.place();
        if !self.begun {
            self.begun = true;
            let item = message(&self.head.id, "in_progress", &[]);
            events.push(json!({"type": "response.output_item.added", "output_index": 0, "item": item}));
            events.push(at(&place, json!({"type": "response.content_part.added", "part": written("", &[])})));
        }
        events.push(at(&place, json!({"type": "response.output_text.delta", "delta": text, "logprobs": []})));
    }

    fn finish(&mut self, answer: &Answer, events: &mut Vec<Value>) {
        let refused = if self.structured && answer.calls.is_empty() { refusal(answer) } else { None };
        if self.structured && answer.calls.is_empty() {
            // What does not fit is never sent, so nothing is sent before it is whole.
            let text = if refused.is_some() { "" } else { &answer.answer };
            text.clone_into(&mut self.written.text);
            self.text(text, events);
        }
        let (text, place) = (self.written.text.clone(), self.place());
        let annotations = if self.structured { Vec::new() } else { self.written.annotations(answer) };
        let text = if self.begun { text } else { String::new() };
        let output = output(&self.head.id, &text, refused.as_deref(), &annotations, &answer.calls);
        if self.begun {
            for (index, annotation) in annotations.iter().enumerate() {
                let mut annotation = json!(annotation);
                annotation["type"] = json!("url_citation");
                let event = json!({
                    "type": "response.output_text.annotation.added", "annotation_index": index, "annotation": annotation,
                });
                events.push(at(&place, event));
            }
            let part = output[0]["content"][0].clone();
            events.push(at(&place, json!({"type": "response.output_text.done", "text": text, "logprobs": []})));
            events.push(at(&place, json!({"type": "response.content_part.done", "part": part})));
            events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": output[0]}));
        }
        let first = output.len() - answer.calls.len();
        for (index, call) in answer.calls.iter().enumerate() {
            let index = first + index;
            let (id, arguments) = (format!("fc_{}", call.id), call.arguments.to_string());
            let begun = function_call(call, "in_progress", "");
            events.push(json!({"type": "response.output_item.added", "output_index": index, "item": begun}));
            for (event, field) in [("delta", "delta"), ("done", "arguments")] {
                let mut event = json!({
                    "type": format!("response.function_call_arguments.{event}"), "item_id": id, "output_index": index,
                });
                event[field] = json!(arguments);
                event["name"] = json!(call.name);
                events.push(event);
            }
            events.push(json!({"type": "response.output_item.done", "output_index": index, "item": output[index]}));
        }
        let last = if answer.cut { "response.incomplete" } else { "response.completed" };
        events.push(json!({"type": last, "response": self.head.finished(answer, &output)}));
    }

    /// Where the text is within the response.
    fn place(&self) -> Value {
        json!({"item_id": self.head.id.replacen("resp_", "msg_", 1), "output_index": 0, "content_index": 0})
    }
}

fn at(place: &Value, mut event: Value) -> Value {
    for field in ["item_id", "output_index", "content_index"] {
        event[field] = place[field].clone();
    }
    event
}
