//! Answers connections: slow clients are dropped, and a stop lets requests in flight finish.

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{connections::Places, context::Peer};

/// How long the server waits for its clients.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A client that has not sent a request's head after this long is dropped; so is an idle connection.
    pub head: Duration,
    /// How long requests in flight may go on after the stop.
    pub grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Duration::from_secs(30), grace: Duration::from_secs(10) }
    }
}

/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers connections of `listener` until `stop`; then no new ones, and those in flight get the grace.
pub async fn serve(listener: TcpListener, router: Router, patience: Patience, stop: CancellationToken) {
    let (mut connections, places) = (JoinSet::new(), Places::new());
    loop {
        let accept = async {
            let permit = places.free().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            (permit, accepted) = accept => match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = permit.and_then(|permit| places.take(permit, peer.ip())) else {
                        tracing::warn!(address = %peer.ip(), "an address has its share of connections; one more was dropped");
                        continue;
                    };
                    let answered = answer(stream, peer, router.clone(), patience.head, stop.clone());
                    connections.spawn(async move {
                        answered.await;
                        drop(place);
                    });
                }
                Err(fault) if is_of_the_connection(&fault) => {}
                Err(fault) => {
                    tracing::error!(error = %fault, "connections cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(patience.grace, all_done).await.is_err() {
        tracing::warn!("requests were cut off by the stop");
    }
}

async fn answer(stream: TcpStream, peer: SocketAddr, router: Router, head: Duration, stop: CancellationToken) {
    // Events are small and must not wait for more.
    if let Err(fault) = stream.set_nodelay(true) {
        tracing::debug!(error = %fault, "a connection was gone at once");
        return;
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.ip()));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(fault) = ended {
        tracing::debug!(error = %fault, "a connection broke off");
    }
}

fn is_of_the_connection(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
