//! Server-sent events: a stream of values becomes a response that grows.
//!
//! Format: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::{convert::Infallible, time::Duration};

use axum::{
    http::{HeaderName, HeaderValue},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt};
use serde::Serialize;
use serde_json::Value;

/// A comment goes out after this long without an event, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Answers with `events`, each as JSON under the event name that is its field `type` (`message` without one). The
/// response ends when the stream ends, and dropping the connection drops the stream.
pub fn events<E: Serialize>(events: impl Stream<Item = E> + Send + 'static) -> Response {
    let stream = events.filter_map(|event| {
        let event = match serde_json::to_value(&event).and_then(|value| named(&value)) {
            Ok(event) => Some(Ok::<_, Infallible>(event)),
            Err(fault) => {
                tracing::error!(error = %fault, "an event cannot be written as JSON and is left out");
                None
            }
        };
        std::future::ready(event)
    });
    growing(stream)
}

/// Answers with events that have no name, each with one of `lines` as its data: what OpenAI's clients read.
pub fn data(lines: impl Stream<Item = String> + Send + 'static) -> Response {
    growing(lines.map(|line| Ok(Event::default().data(line))))
}

fn growing(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn named(value: &Value) -> serde_json::Result<Event> {
    let data = serde_json::to_string(value)?;
    let name = value.get("type").and_then(Value::as_str).unwrap_or("message");
    Ok(Event::default().event(name).data(data))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn each_event_is_named_by_its_type_and_the_stream_ends() {
        let values = futures::stream::iter([json!({"type": "text", "text": "a\nb"}), json!({"n": 1})]);
        let response = events(values);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            "event: text\ndata: {\"type\":\"text\",\"text\":\"a\\nb\"}\n\nevent: message\ndata: {\"n\":1}\n\n"
        );
    }
}
