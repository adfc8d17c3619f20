//! A post office for tests: a tool that reaches outside, and counts.

use std::sync::{Arc, Mutex};

use aegis::{
    agents::tool::{Effects, Tool, ToolContext, ToolOutput},
    models::chat::ToolSpec,
    support::Result,
};
use async_trait::async_trait;
use serde_json::{Value, json};

/// What was sent.
#[derive(Clone, Default)]
pub(super) struct Post {
    sent: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Post {
    /// `post.send`.
    pub(super) fn tool(&self) -> Arc<dyn Tool> {
        Arc::new(Send(self.clone()))
    }

    pub(super) fn sent(&self) -> Vec<Value> {
        self.sent.lock().unwrap().iter().map(|(_, letter)| letter.clone()).collect()
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.sent.lock().unwrap().iter().map(|(key, _)| key.clone()).collect()
    }
}

struct Send(Post);

#[async_trait]
impl Tool for Send {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "post.send".to_owned(),
            description: "Sends a letter.".to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {"to": {"type": "string"}, "text": {"type": "string"}},
                "required": ["to", "text"],
                "additionalProperties": false,
            }),
        }
    }

    fn effects(&self) -> Effects {
        Effects::Outside
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput> {
        self.0.sent.lock().unwrap().push((context.idempotency_key.clone(), arguments));
        Ok(ToolOutput { summary: "sent".to_owned(), content: json!("sent"), sources: Vec::new() })
    }
}
