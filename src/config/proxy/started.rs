//! A proxy as an app: our own executable is the server, and all that is listened on leads to one port that the
//! workers ask for and that nobody has.

use std::ffi::OsString;

use super::{DRAIN_TIMEOUT, Proxy};
use crate::config::{AppConfig, Listen};

/// The hidden command that our own executable runs as a worker.
pub const WORKER: &str = "proxy-worker";

/// The port that the workers ask for. It is the same whatever is listened on, so that listeners can come and go.
pub const APP_PORT: u16 = 1;

/// A proxy that listens there.
pub fn app(proxy: Proxy, mut listen: Vec<Listen>) -> AppConfig {
    for one in &mut listen {
        one.app_port = Some(APP_PORT);
    }
    let bind = format!("[::]:{APP_PORT}");
    // The program is always the primary's own, whatever it was called by.
    let command: [OsString; 3] = ["forkfront".into(), WORKER.into(), bind.into()];
    AppConfig {
        name: "proxy".to_owned(),
        listen,
        drain_timeout: DRAIN_TIMEOUT,
        proxy: Some(proxy),
        ..AppConfig::new(command.to_vec())
    }
}

/// What is written behind `-l` of a proxy.
///
/// # Errors
/// A sentence: as with a server's listener, or with a port of a server that there is not.
pub fn listens(words: &str) -> Result<Listen, String> {
    let listen: Listen = words.parse()?;
    match listen.app_port {
        Some(port) => Err(format!(
            "a proxy has no port of a server behind its own: it is {}, and where that leads is said by 'to'",
            words.strip_suffix(&format!("={port}")).unwrap_or(words)
        )),
        None => Ok(listen),
    }
}
