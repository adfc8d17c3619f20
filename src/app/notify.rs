//! Tells systemd how far we are (`Type=notify`), by the protocol of sd_notify(3).

use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr, UnixDatagram},
};

/// The appliance answers requests.
pub fn ready() {
    send("READY=1");
}

/// The appliance has begun to stop.
pub fn stopping() {
    send("STOPPING=1");
}

/// Does nothing where nobody asked to be told.
fn send(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.to_str().and_then(|path| path.strip_prefix('@')) {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, state, "systemd could not be told");
    }
}
