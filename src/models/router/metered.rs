//! What a meter has set aside for a call, and what becomes of it.

use std::sync::Arc;

use futures::{StreamExt, stream};

use super::Target;
use crate::{
    models::{
        chat::{Capabilities, ChatEvent, ChatRequest, ChatStream, Finish, ModelError},
        meter::{Meter, Planned, Price, Reservation, Usage},
        tokens,
    },
    support::clock::SharedClock,
};

/// A call of a model. Dropped before it is settled, it counts as cut off.
pub(super) struct Call {
    reservation: Option<Box<dyn Reservation>>,
    begun: bool,
}

impl Call {
    /// One that nobody counts.
    pub(super) fn free() -> Self {
        Self { reservation: None, begun: false }
    }

    /// Has set aside what it may come to.
    pub(super) async fn reserved(
        meter: &dyn Meter,
        model: &str,
        price: Price,
        capabilities: Capabilities,
        request: &ChatRequest,
    ) -> Result<Self, ModelError> {
        let at_most = at_most(request, capabilities);
        let reservation = meter.reserve(&Planned { model, price, at_most }).await?;
        Ok(Self { reservation: Some(reservation), begun: false })
    }

    /// A piece of the answer has come.
    pub(super) fn received(&mut self, event: &ChatEvent) {
        let bytes = match event {
            ChatEvent::Text(text) | ChatEvent::Thinking(text) => text.len(),
            ChatEvent::ToolCall(call) => call.name.len() + call.arguments.to_string().len(),
            ChatEvent::Loading | ChatEvent::Done(_) => 0,
        };
        self.begun |= bytes > 0;
        if let Some(reservation) = &mut self.reservation {
            reservation.received(bytes);
        }
    }

    /// It is over.
    pub(super) async fn settle(&mut self, used: Option<Usage>) {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(used).await;
        }
    }

    /// It ended before anything could be seen. Whatever was refused outright is charged by nobody; where the provider
    /// may have worked, dropping the reservation counts what is known.
    pub(super) async fn failed(&mut self, error: &ModelError) {
        if !self.begun && !matches!(error, ModelError::TimedOut { .. } | ModelError::Network { .. }) {
            self.settle(None).await;
        }
        self.reservation = None;
    }
}

/// The most that a call can come to.
fn at_most(request: &ChatRequest, capabilities: Capabilities) -> Usage {
    let schema = request.schema.as_ref().map_or(0, |schema| tokens::estimate(&schema.to_string()));
    let prompt_tokens = u32::try_from(tokens::of_request(request) + schema).unwrap_or(u32::MAX);
    let room = capabilities.context_tokens.saturating_sub(prompt_tokens);
    Usage { prompt_tokens, completion_tokens: request.max_tokens.unwrap_or(room) }
}

impl Usage {
    /// What the provider counted; none when it counted nothing, as some do.
    pub(super) fn of(finish: &Finish) -> Option<Self> {
        let usage = Self { prompt_tokens: finish.prompt_tokens, completion_tokens: finish.completion_tokens };
        (usage != Self::default()).then_some(usage)
    }
}

/// The rest of an answer, with the meter and the target's record kept up to date. It ends with `Done` or an error.
pub(super) fn followed(answer: ChatStream, call: Call, target: Arc<Target>, clock: SharedClock) -> ChatStream {
    stream::unfold(Some((answer, call, target, clock)), |state| async {
        let (mut answer, mut call, target, clock) = state?;
        let event = answer.next().await.unwrap_or_else(|| {
            Err(ModelError::Network { message: "the answer ended before it was complete".to_owned() })
        });
        match &event {
            Ok(ChatEvent::Done(finish)) => {
                target.cooldown.answered();
                if let Some(usage) = Usage::of(finish) {
                    call.settle(Some(usage)).await;
                }
                Some((event, None))
            }
            Ok(piece) => {
                call.received(piece);
                Some((event, Some((answer, call, target, clock))))
            }
            Err(error) => {
                target.cooldown.broke_off(error, clock.now());
                Some((event, None))
            }
        }
    })
    .boxed()
}
