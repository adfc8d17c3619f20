//! A model tried out: a question with its times, and whether it calls a tool when it is told to.

use std::time::Instant;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::models::{
    chat::{Capabilities, ChatEvent, ChatRequest, Message, Speaker, ToolSpec},
    router::{NoModel, Router},
};

const QUESTION: &str = "In one sentence: why is the sky blue?";
const ERRAND: &str = "What is the weather in Lisbon right now? Use the tool.";
const TOOL: &str = "weather.now";
/// The longest answer that is waited for, in tokens.
const ANSWER: u32 = 128;

/// How a trial went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trial {
    /// Who answered.
    pub model: String,
    /// Where it stands: "number 1 of route default".
    pub why: String,
    /// Who was asked before in vain, and why.
    pub attempts: Vec<String>,
    /// What it said.
    pub text: String,
    /// Until the first visible word.
    pub first_token_ms: u64,
    /// Until the last.
    pub duration_ms: u64,
    /// As the provider counted them.
    pub prompt_tokens: u32,
    /// As the provider counted them.
    pub completion_tokens: u32,
    /// Of the answer, from its first word on; none when it came in one piece.
    pub tokens_per_second: Option<f64>,
    /// Why the answer is not complete.
    pub error: Option<String>,
    /// Whether it calls tools.
    pub tools: ToolCalling,
}

/// Whether a model calls a tool when it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolCalling {
    /// It called the tool with arguments that fit.
    Works,
    /// It called it with arguments that do not fit, or something else.
    Wrong,
    /// It answered without the tool.
    NotCalled,
    /// It says that it has no tools: the appliance searches for it.
    Unsupported,
    /// It did not answer this question.
    Failed,
}

/// Asks whichever model of the route answers.
pub(super) async fn of(router: &Router) -> Result<Trial, NoModel> {
    let started = Instant::now();
    let mut answering = router.chat(|_| request(QUESTION, Vec::new())).await?;
    let mut trial = Trial {
        model: answering.model.clone(),
        why: answering.why.to_string(),
        attempts: answering.attempts.iter().map(|tried| format!("{}: {}", tried.model, tried.error)).collect(),
        text: String::new(),
        first_token_ms: 0,
        duration_ms: 0,
        prompt_tokens: 0,
        completion_tokens: 0,
        tokens_per_second: None,
        error: None,
        tools: ToolCalling::Failed,
    };
    let mut first = None;
    while let Some(event) = answering.stream.next().await {
        match event {
            Ok(ChatEvent::Text(text)) => {
                first.get_or_insert_with(Instant::now);
                trial.text.push_str(&text);
            }
            Ok(ChatEvent::Done(finish)) => {
                (trial.prompt_tokens, trial.completion_tokens) = (finish.prompt_tokens, finish.completion_tokens);
            }
            Ok(_) => {}
            Err(error) => trial.error = Some(error.to_string()),
        }
    }
    let first = first.unwrap_or_else(Instant::now);
    trial.first_token_ms = milliseconds(first - started);
    trial.duration_ms = milliseconds(started.elapsed());
    let seconds = first.elapsed().as_secs_f64();
    trial.tokens_per_second =
        (seconds > 0.001 && trial.completion_tokens > 1).then(|| f64::from(trial.completion_tokens - 1) / seconds);
    trial.tools = tool_calling(router, &trial.model, answering.capabilities).await;
    Ok(trial)
}

/// Of the model that answered, not of another that stands before it.
async fn tool_calling(router: &Router, model: &str, capabilities: Capabilities) -> ToolCalling {
    if !capabilities.tools {
        return ToolCalling::Unsupported;
    }
    let Some(router) = router.only(model) else { return ToolCalling::Failed };
    let tool = ToolSpec {
        name: TOOL.to_owned(),
        description: "Tells the weather at a place, as it is now.".to_owned(),
        parameters: json!({
            "type": "object",
            "properties": { "city": { "type": "string", "description": "The place's name" } },
            "required": ["city"],
        }),
    };
    let Ok(answering) = router.chat(|_| request(ERRAND, vec![tool.clone()])).await else { return ToolCalling::Failed };
    let events: Vec<_> = answering.stream.collect().await;
    if events.iter().any(Result::is_err) {
        return ToolCalling::Failed;
    }
    let mut calls = events.into_iter().filter_map(|event| match event {
        Ok(ChatEvent::ToolCall(call)) => Some(call),
        _ => None,
    });
    match calls.next() {
        None if !answering.capabilities.tools => ToolCalling::Unsupported,
        None => ToolCalling::NotCalled,
        Some(call) if call.name == TOOL && call.arguments["city"].is_string() => ToolCalling::Works,
        Some(_) => ToolCalling::Wrong,
    }
}

fn request(question: &str, tools: Vec<ToolSpec>) -> ChatRequest {
    ChatRequest {
        messages: vec![Message::new(Speaker::User, question)],
        tools,
        max_tokens: Some(ANSWER),
        temperature: Some(0.0),
        ..ChatRequest::default()
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
