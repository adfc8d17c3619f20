//! Chat over `/api/chat`: one JSON object a line, until one says `done`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ollama_rs::{
    generation::{
        chat::{ChatMessage, MessageRole, request::ChatMessageRequest},
        parameters::{KeepAlive, TimeUnit},
    },
    models::ModelOptions,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    KEEP_ALIVE_MINUTES, Server,
    context::{Largest, Sizes},
    failure::{About, refusal},
    show::Kept,
};
use crate::{
    config,
    egress::{self, Failure},
    models::{
        chat::{
            Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, Finish, FinishReason, ModelError, Speaker,
            ToolCall, ToolSpec,
        },
        names,
        printed::Sorter,
        stream::{self, Events},
    },
    support::ids::CallId,
};

/// A model that has not said anything for so long is being loaded: the person is told.
const LOADING_AFTER: Duration = Duration::from_millis(1500);
/// The longest line; a tool call may carry a long argument.
const LONGEST_LINE: usize = 4 * 1024 * 1024;
/// The most of a refusal that is read.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// A chat model of an Ollama server.
#[derive(Debug, Clone)]
pub struct OllamaChat {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    server: Server,
    model: String,
    kept: Kept,
    largest: Largest,
}

impl OllamaChat {
    /// The chat model that the configuration names.
    pub fn new(server: Server, config: &config::Ollama) -> Self {
        let inner = Inner { server, model: config.model.clone(), kept: Kept::default(), largest: Largest::default() };
        Self { inner: Arc::new(inner) }
    }
}

#[async_trait]
impl ChatModel for OllamaChat {
    fn name(&self) -> String {
        format!("ollama/{}", self.inner.model)
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn capabilities(&self) -> Result<Capabilities, ModelError> {
        let shown = self.inner.kept.show(&self.inner.server, &self.inner.model).await?;
        Ok(shown.capabilities)
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ModelError> {
        let capabilities = self.capabilities().await?;
        let inner = Arc::clone(&self.inner);
        let sizes = inner.largest.sizes(&request, capabilities.context_tokens, capabilities.thinking)?;
        let body = inner.body(&request, sizes)?;
        Ok(stream::from_block(move |events| async move {
            let result = inner.answer(&request.tools, sizes, body, events).await;
            if matches!(result, Err(ModelError::ModelMissing { .. } | ModelError::NoTools { .. })) {
                inner.kept.forget();
            }
            result
        }))
    }
}

impl Inner {
    fn body(&self, request: &ChatRequest, sizes: Sizes) -> Result<Value, ModelError> {
        let mut options = ModelOptions::default()
            .num_ctx(u64::from(sizes.context))
            .num_predict(i32::try_from(sizes.answer).unwrap_or(i32::MAX));
        if let Some(temperature) = request.temperature {
            options = options.temperature(temperature);
        }
        let messages = request.messages.iter().map(|message| {
            let role = match message.speaker {
                Speaker::System => MessageRole::System,
                Speaker::User => MessageRole::User,
                Speaker::Assistant => MessageRole::Assistant,
                Speaker::Tool => MessageRole::Tool,
            };
            ChatMessage::new(role, message.text.clone())
        });
        let message = ChatMessageRequest::new(self.model.clone(), messages.collect())
            .options(options)
            .keep_alive(KeepAlive::Until { time: KEEP_ALIVE_MINUTES, unit: TimeUnit::Minutes });
        let mut body = serde_json::to_value(message).map_err(|error| unsendable(&error))?;
        // What ollama-rs 0.3.6 has no field for, or keeps to itself. `truncate`: rather an error than a cut prompt.
        body["stream"] = json!(true);
        body["truncate"] = json!(false);
        if let Some(schema) = &request.schema {
            body["format"] = schema.clone();
        }
        if !request.tools.is_empty() {
            body["tools"] = request.tools.iter().map(wire_tool).collect();
        }
        for (sent, message) in body["messages"].as_array_mut().into_iter().flatten().zip(&request.messages) {
            sent["tool_calls"] = message.tool_calls.iter().map(wire_call).collect();
            if let Some(name) = &message.tool_name {
                sent["tool_name"] = json!(names::on_the_wire(name));
            }
            if let Some(id) = &message.tool_call_id {
                sent["tool_call_id"] = json!(id);
            }
        }
        Ok(body)
    }

    /// Sends the request and passes on what comes back. Dropping it closes the connection, by which Ollama stops.
    async fn answer(
        &self,
        tools: &[ToolSpec],
        sizes: Sizes,
        body: Value,
        mut events: Events,
    ) -> Result<(), ModelError> {
        let about = About { model: &self.model, tokens: sizes.prompt, context: sizes.context };
        let deadline = tokio::time::Instant::now() + self.server.load_timeout;
        let mut outbound = self.server.outbound("chat")?;
        let request = outbound.post(self.server.url("api/chat")?).json(&body);
        // The headers come with the first line, that is after the model has been loaded.
        let mut sent = std::pin::pin!(request.send());
        let early = tokio::time::timeout(LOADING_AFTER, &mut sent).await;
        let response = if let Ok(response) = early {
            response
        } else {
            events.send(ChatEvent::Loading).await;
            let sent = tokio::time::timeout_at(deadline, sent).await;
            sent.map_err(|_| self.server.unanswered(&mut outbound, Failure::TimedOut, self.server.load_timeout))?
        };
        let response =
            response.map_err(|error| self.server.unanswered(&mut outbound, error, self.server.load_timeout))?;
        let status = response.status();
        outbound.answered(Some(status.as_u16()));
        if !status.is_success() {
            let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let body = egress::read_bounded(response, LONGEST_REFUSAL).await.unwrap_or_default();
            let body = String::from_utf8_lossy(&body);
            return Err(refusal(about, Some(status.as_u16()), seconds.map(Duration::from_secs), &body));
        }
        let mut answer = Answer { tools, about, sorter: Sorter::new(tools), calls: 0, events };
        let (mut response, mut buffer) = (response, Vec::new());
        let mut limit = (deadline, self.server.load_timeout);
        loop {
            let chunk = tokio::time::timeout_at(limit.0, response.chunk()).await;
            let chunk = chunk.map_err(|_| self.server.unanswered(&mut outbound, Failure::TimedOut, limit.1))?;
            let chunk = chunk.map_err(|error| self.server.unanswered(&mut outbound, error, limit.1))?;
            outbound.received(chunk.as_ref().map_or(0, bytes::Bytes::len));
            let ended = chunk.is_none();
            buffer.extend_from_slice(chunk.as_deref().unwrap_or(b"\n"));
            while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                if answer.take(&line).await? {
                    return Ok(());
                }
            }
            if ended {
                return Err(ModelError::Server {
                    message: "the connection ended in the middle of the answer".to_owned(),
                });
            }
            if buffer.len() > LONGEST_LINE {
                return Err(ModelError::Server { message: "a line of the answer is too long".to_owned() });
            }
            limit = (tokio::time::Instant::now() + self.server.idle_timeout, self.server.idle_timeout);
        }
    }
}

/// An answer on its way.
struct Answer<'a> {
    tools: &'a [ToolSpec],
    about: About<'a>,
    sorter: Sorter,
    calls: usize,
    events: Events,
}

/// One line. ollama-rs's own type wants all counts to be there and does not have `done_reason`.
#[derive(Deserialize)]
struct Line {
    error: Option<Value>,
    message: Option<ChatMessage>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    #[serde(default)]
    prompt_eval_count: u64,
    #[serde(default)]
    eval_count: u64,
}

impl Answer<'_> {
    /// Passes on what a line says; true when it was the last.
    async fn take(&mut self, line: &[u8]) -> Result<bool, ModelError> {
        if line.trim_ascii().is_empty() {
            return Ok(false);
        }
        let understood: Line = serde_json::from_slice(line).map_err(|error| {
            tracing::debug!(%error, "a line of Ollama's answer cannot be read");
            ModelError::Server { message: "its answer cannot be understood; is this an Ollama server?".to_owned() }
        })?;
        if understood.error.is_some() {
            return Err(refusal(self.about, None, None, &String::from_utf8_lossy(line)));
        }
        if let Some(message) = understood.message {
            self.pass_on(message).await;
        }
        if !understood.done {
            return Ok(false);
        }
        let rest = self.sorter.finish();
        self.events.send_all(rest).await;
        let reason = if self.calls + self.sorter.calls() > 0 {
            FinishReason::ToolCalls
        } else if understood.done_reason.as_deref() == Some("length") {
            FinishReason::Length
        } else {
            FinishReason::Stop
        };
        let count = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
        let finish = Finish {
            reason,
            prompt_tokens: count(understood.prompt_eval_count),
            completion_tokens: count(understood.eval_count),
        };
        self.events.send(ChatEvent::Done(finish)).await;
        Ok(true)
    }

    async fn pass_on(&mut self, message: ChatMessage) {
        if let Some(thought) = message.thinking.filter(|thought| !thought.is_empty()) {
            self.events.send(ChatEvent::Thinking(thought)).await;
        }
        let sorted = self.sorter.push(&message.content);
        self.events.send_all(sorted).await;
        for call in message.tool_calls {
            self.calls += 1;
            let made_up = || call.function.name.clone();
            let name = names::restored(&call.function.name, self.tools).unwrap_or_else(made_up);
            let arguments = names::arguments(call.function.arguments);
            self.events
                .send(ChatEvent::ToolCall(ToolCall { id: CallId::generate().to_string(), name, arguments }))
                .await;
        }
    }
}

fn wire_tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "function": { "name": names::on_the_wire(&tool.name), "description": tool.description, "parameters": tool.parameters },
    })
}

fn wire_call(call: &ToolCall) -> Value {
    json!({ "id": call.id, "function": { "name": names::on_the_wire(&call.name), "arguments": call.arguments } })
}

fn unsendable(error: &serde_json::Error) -> ModelError {
    ModelError::Server { message: format!("the request cannot be written: {error}") }
}
