//! One model of a chain, and how it is asked.

use std::sync::Arc;

use futures::{StreamExt, future::BoxFuture, stream};

use super::{cooldown::Cooldown, metered::Call};
use crate::models::{
    chat::{Capabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, FinishReason, ModelError},
    meter::{Meter, Price, Usage},
};

/// A model with its price and its record of failures.
pub struct Target {
    pub(super) model: Arc<dyn ChatModel>,
    pub(super) price: Price,
    pub(super) cooldown: Cooldown,
}

/// An answer that has begun.
pub(super) struct Begun {
    pub(super) capabilities: Capabilities,
    pub(super) price: Price,
    pub(super) request: ChatRequest,
    /// From the first visible piece on.
    pub(super) stream: ChatStream,
    pub(super) call: Call,
}

/// Why it did not begin.
pub(super) struct Failed {
    pub(super) error: ModelError,
    /// The meter said no; the model was not asked.
    pub(super) of_the_meter: bool,
}

impl From<ModelError> for Failed {
    fn from(error: ModelError) -> Self {
        Self { error, of_the_meter: false }
    }
}

impl Target {
    /// A model with what it costs.
    pub fn new(model: Arc<dyn ChatModel>, price: Price) -> Self {
        Self { model, price, cooldown: Cooldown::default() }
    }

    /// A model that costs nothing when it is local, and else nobody knows what.
    pub fn of(model: Arc<dyn ChatModel>) -> Self {
        let price = if model.is_local() { Price::Free } else { Price::Unknown };
        Self::new(model, price)
    }

    /// The model's name: `ollama/llama3.2`.
    pub fn name(&self) -> String {
        self.model.name()
    }

    /// What it costs.
    pub fn price(&self) -> Price {
        self.price
    }

    /// Asks once, and once more without tools if the server says that the model has none after all.
    pub(super) async fn ask<'r>(
        &self,
        meter: Option<&Arc<dyn Meter>>,
        request_for: &(impl Fn(Capabilities) -> BoxFuture<'r, ChatRequest> + Send + Sync),
        watch: &mut (impl FnMut(ChatEvent) + Send),
    ) -> Result<Begun, Failed> {
        let mut capabilities = self.model.capabilities().await?;
        let request = request_for(capabilities).await;
        match self.begin(meter, capabilities, request, watch).await {
            Err(Failed { error: ModelError::NoTools { model }, .. }) if capabilities.tools => {
                tracing::info!(model, "the model cannot call tools; it is asked again without");
                capabilities.tools = false;
                let request = request_for(capabilities).await;
                self.begin(meter, capabilities, request, watch).await
            }
            begun => begun,
        }
    }

    /// Waits for the first visible piece, so that a failure before it can still be made good by the next model.
    async fn begin(
        &self,
        meter: Option<&Arc<dyn Meter>>,
        capabilities: Capabilities,
        request: ChatRequest,
        watch: &mut (impl FnMut(ChatEvent) + Send),
    ) -> Result<Begun, Failed> {
        let mut call = match meter {
            Some(meter) => Call::reserved(&**meter, &self.model.name(), self.price, capabilities, &request)
                .await
                .map_err(|error| Failed { error, of_the_meter: true })?,
            None => Call::free(),
        };
        match self.first_piece(&mut call, request.clone(), watch).await {
            Ok(stream) => Ok(Begun { capabilities, price: self.price, request, stream, call }),
            Err(error) => {
                call.failed(&error).await;
                Err(error.into())
            }
        }
    }

    async fn first_piece(
        &self,
        call: &mut Call,
        request: ChatRequest,
        watch: &mut (impl FnMut(ChatEvent) + Send),
    ) -> Result<ChatStream, ModelError> {
        let mut events = self.model.chat(request).await?;
        // Blank text is nothing that anybody sees, and still part of the answer.
        let mut held = Vec::new();
        while let Some(event) = events.next().await {
            match event? {
                event @ (ChatEvent::Loading | ChatEvent::Thinking(_)) => {
                    call.received(&event);
                    watch(event);
                }
                ChatEvent::Text(text) if text.trim().is_empty() => held.push(Ok(ChatEvent::Text(text))),
                ChatEvent::Done(finish) if finish.reason == FinishReason::Refused => {
                    let Some(usage) = Usage::of(&finish) else { return Err(refused()) };
                    call.settle(Some(usage)).await;
                    return Err(refused());
                }
                visible => {
                    held.push(Ok(visible));
                    return Ok(stream::iter(held).chain(events).boxed());
                }
            }
        }
        Err(ModelError::Server { message: "the answer ended before it began".to_owned() })
    }
}

fn refused() -> ModelError {
    ModelError::Refused { reason: "its policy cut the answer off before it began".to_owned() }
}
