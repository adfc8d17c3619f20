//! How providers make a [`ChatStream`]: an `async` block that sends events. The block runs only while the
//! stream is read and is dropped together with it, so that dropping a stream is all that cancelling takes.

use futures::{SinkExt, StreamExt, channel::mpsc, stream};

use super::chat::{ChatEvent, ChatStream, ModelError};

/// Where a provider's block sends its events.
pub(super) struct Events(mpsc::Sender<Result<ChatEvent, ModelError>>);

impl Events {
    /// Sends one event; waits while the reader is behind.
    pub(super) async fn send(&mut self, event: ChatEvent) {
        // A closed channel means that the stream was dropped, and this block is about to be dropped with it.
        let _ = self.0.send(Ok(event)).await;
    }

    /// Sends several.
    pub(super) async fn send_all(&mut self, events: Vec<ChatEvent>) {
        for event in events {
            self.send(event).await;
        }
    }
}

/// The stream of what `block` sends; an error that it returns comes last.
pub(super) fn from_block<Block, Running>(block: Block) -> ChatStream
where
    Block: FnOnce(Events) -> Running,
    Running: Future<Output = Result<(), ModelError>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(16);
    let mut last = sender.clone();
    let running = block(Events(sender));
    let driver = stream::once(async move {
        if let Err(error) = running.await {
            let _ = last.send(Err(error)).await;
        }
    });
    stream::select(receiver.map(Some), driver.map(|()| None)).filter_map(std::future::ready).boxed()
}
