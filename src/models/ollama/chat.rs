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
    Server,
    context::{Largest, Sizes},
    failure::{About, refusal},
    show::{Kept, Shown},
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
        prompted,
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
    /// `ollama`, or the name in `[providers]`.
    provider: String,
    model: String,
    kept: Kept,
    largest: Largest,
}

impl OllamaChat {
    /// The chat model that the configuration names.
    pub fn new(server: Server, config: &config::Ollama) -> Self {
        Self { inner: Arc::new(Inner::new(server, config.model.clone(), "ollama")) }
    }

    /// The same model of a server that the configuration calls `provider`.
    #[must_use]
    pub fn named(&self, provider: &str) -> Self {
        let Inner { server, model, .. } = &*self.inner;
        Self { inner: Arc::new(Inner::new(server.clone(), model.clone(), provider)) }
    }
}

#[async_trait]
impl ChatModel for OllamaChat {
    fn name(&self) -> String {
        format!("{}/{}", self.inner.provider, self.inner.model)
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn capabilities(&self) -> Result<Capabilities, ModelError> {
        let shown = self.inner.kept.show(&self.inner.server, &self.inner.model).await?;
        Ok(shown.capabilities)
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ModelError> {
        let inner = Arc::clone(&self.inner);
        let shown = inner.kept.show(&inner.server, &inner.model).await?;
        let has_to_be_told = !shown.native_tools && !request.tools.is_empty();
        let sent = if has_to_be_told { prompted::as_text(&request) } else { request.clone() };
        let sizes = inner.largest.sizes(&sent, shown.reads())?;
        let body = inner.body(&sent, sizes)?;
        Ok(stream::from_block(move |events| async move {
            let result = inner.answer(&request, shown, sizes, body, events).await;
            if matches!(result, Err(ModelError::ModelMissing { .. } | ModelError::NoTools { .. })) {
                inner.kept.forget();
            }
            result
        }))
    }
}

impl Inner {
    fn new(server: Server, model: String, provider: &str) -> Self {
        Self { server, provider: provider.to_owned(), model, kept: Kept::default(), largest: Largest::default() }
    }

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
            .keep_alive(KeepAlive::Until { time: self.server.keep_alive_minutes, unit: TimeUnit::Minutes });
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
        request: &ChatRequest,
        shown: Shown,
        sizes: Sizes,
        body: Value,
        mut events: Events,
    ) -> Result<(), ModelError> {
        let about = About { model: &self.model, tokens: sizes.prompt, context: sizes.context };
        // Held until the answer is over. Waiting in the server's own queue would look as if it were loading.
        let _turn = self.server.turn().await?;
        let deadline = tokio::time::Instant::now() + self.server.load_timeout;
        let mut outbound = self.server.outbound("chat")?;
        let posted = outbound.post(self.server.url("api/chat")?).json(&body);
        // The headers come with the first line, that is after the model has been loaded.
        let mut sent = std::pin::pin!(posted.send());
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
        let tools = request.tools.as_slice();
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
                if let Some(ended) = answer.take(&line).await? {
                    drop(outbound);
                    self.largest.learn(sizes, ended.finish.prompt_tokens);
                    return self.end(request, shown, ended, answer.events).await;
                }
            }
            if ended {
                return Err(ModelError::Network { message: "it ended in the middle of the answer".to_owned() });
            }
            if buffer.len() > LONGEST_LINE {
                return Err(ModelError::Server { message: "a line of the answer is too long".to_owned() });
            }
            limit = (tokio::time::Instant::now() + self.server.idle_timeout, self.server.idle_timeout);
        }
    }

    /// Ends an answer. A call that was meant and could not be read is asked for once more; if that helps nobody, what the
    /// model wrote is text.
    async fn end(
        &self,
        request: &ChatRequest,
        shown: Shown,
        ended: Ended,
        mut events: Events,
    ) -> Result<(), ModelError> {
        let Ended { mut finish, broken } = ended;
        if let Some(broken) = broken {
            match self.again(request, shown, &broken, &mut finish).await {
                Ok(Some(call)) => {
                    finish.reason = FinishReason::ToolCalls;
                    events.send(ChatEvent::ToolCall(call)).await;
                }
                asked => {
                    tracing::info!(model = self.model, failed = asked.is_err(), "a call of a tool could not be read");
                    events.send(ChatEvent::Text(broken)).await;
                }
            }
        }
        events.send(ChatEvent::Done(finish)).await;
        Ok(())
    }

    /// Asks for the call once more, held to a schema.
    async fn again(
        &self,
        request: &ChatRequest,
        shown: Shown,
        broken: &str,
        finish: &mut Finish,
    ) -> Result<Option<ToolCall>, ModelError> {
        let again = prompted::again(request, broken);
        let mut body = self.body(&again, self.largest.sizes(&again, shown.reads())?)?;
        body["stream"] = json!(false);
        let answered: Line = self.server.call("chat", "api/chat", &body, &self.model, self.server.load_timeout).await?;
        finish.prompt_tokens = finish.prompt_tokens.saturating_add(count(answered.prompt_eval_count));
        finish.completion_tokens = finish.completion_tokens.saturating_add(count(answered.eval_count));
        let text = answered.message.map(|message| message.content).unwrap_or_default();
        Ok(prompted::read_again(&text, &request.tools))
    }
}

/// An answer that is whole.
struct Ended {
    finish: Finish,
    /// A call that was meant and cannot be read.
    broken: Option<String>,
}

fn count(tokens: u64) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
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
    /// Passes on what a line says; the end when it was the last.
    async fn take(&mut self, line: &[u8]) -> Result<Option<Ended>, ModelError> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
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
            return Ok(None);
        }
        let (mut rest, mut broken) = self.sorter.end();
        if self.calls + self.sorter.calls() > 0 {
            // There are others, which the model will hear of.
            rest.extend(broken.take().map(ChatEvent::Text));
        }
        self.events.send_all(rest).await;
        let reason = if self.calls + self.sorter.calls() > 0 {
            FinishReason::ToolCalls
        } else if understood.done_reason.as_deref() == Some("length") {
            FinishReason::Length
        } else {
            FinishReason::Stop
        };
        let finish = Finish {
            reason,
            prompt_tokens: count(understood.prompt_eval_count),
            completion_tokens: count(understood.eval_count),
        };
        Ok(Some(Ended { finish, broken }))
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
