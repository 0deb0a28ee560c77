//! Native workers: a Rust program that is dealt its connections by forkfront, without a shim in between.
//!
//! A program binds a [`Listener`] as it would bind a `TcpListener`. Started by
//! `forkfront run -n 4 -- my-program` it receives its share of the connections of that port, each the client's own
//! socket with the client's own address; started by itself it listens by itself. Unlike an unmodified server,
//! it can put off being ready, sees how long a connection waited, learns that it is to drain, and needs no
//! preload library. Behind a proxy that is trusted (`--proxy-protocol`) [`Connection::peer`] is the client that the
//! proxy has named, and [`Connection::is_proxied`] says so.
//!
//! # A worker with threads
//!
//! ```
//! use std::io::{Read, Write};
//! use forkfront::worker::{Listener, Options, Stopper};
//!
//! fn serve(listener: &Listener) -> std::io::Result<()> {
//!     for connection in listener.incoming() {
//!         let mut connection = connection?;
//!         let mut name = [0; 64];
//!         let length = connection.read(&mut name)?;
//!         connection.write_all(b"hello, ")?;
//!         connection.write_all(&name[..length])?;
//!     }
//!     Ok(()) // drained: what is open is finished, so the program may end
//! }
//!
//! let stopper = Stopper::on_signals()?; // before any thread is started
//! let listener = Options::new().stopper(&stopper).bind("127.0.0.1:0")?;
//! # let address = listener.local_addr();
//! # let client = std::thread::spawn(move || {
//! #     let mut client = std::net::TcpStream::connect(address).unwrap();
//! #     client.write_all(b"worker").unwrap();
//! #     let mut answer = String::new();
//! #     client.read_to_string(&mut answer).unwrap();
//! #     stopper.stop();
//! #     answer
//! # });
//! std::thread::scope(|scope| {
//!     let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| serve(&listener))).collect();
//!     threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
//! })?;
//! # assert_eq!(client.join().unwrap(), "hello, worker");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # A worker with an event loop
//!
//! ```
//! use std::io::{self, Write};
//! use forkfront::worker::Options;
//! use mio::{Events, Interest, Poll, Token};
//!
//! let mut poll = Poll::new()?;
//! let mut listener = Options::new()
//!     .nonblocking_connections(true)
//!     .bind("127.0.0.1:0")?;
//! poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
//! # let address = listener.local_addr();
//! # let _client = std::net::TcpStream::connect(address)?;
//!
//! let mut events = Events::with_capacity(64);
//! 'serving: loop {
//!     let sleeping = listener.sleeping(); // what `--balance idle` goes by
//!     poll.poll(&mut events, None)?;
//!     drop(sleeping);
//!     loop {
//!         match listener.try_accept() {
//!             Ok(Some(mut connection)) => writeln!(connection, "hello")?,
//!             Ok(None) => break 'serving, // drained
//!             Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
//!             Err(error) => return Err(error), // EMFILE: try again once something was closed
//!         }
//!         # break 'serving;
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

mod connection;
pub mod demo;
pub(crate) mod join;
mod listener;
mod options;
mod stop;
mod stream;
mod supply;
#[cfg(test)]
mod tests;

pub use connection::{Connection, Ticket};
pub use listener::{Incoming, Listener, Sleeping};
pub use options::Options;
pub use stop::{End, Stopper};
pub use stream::Stream;

use crate::wire::ENV_RENDEZVOUS;

/// Whether a forkfront primary started this process (or the one that started it). Whether a given port is
/// shared is for [`Listener::is_balanced`] to tell.
pub fn is_balanced() -> bool {
    std::env::var_os(ENV_RENDEZVOUS).is_some_and(|path| !path.is_empty())
}

/// The slot this worker sits in, from 0: stable over restarts and reloads. `None` outside forkfront.
pub fn slot() -> Option<u16> {
    number("FORKFRONT_SLOT")
}

/// How many slots there were when this worker was started. `None` outside forkfront.
pub fn workers() -> Option<u16> {
    number("FORKFRONT_WORKERS")
}

/// The generation of this worker: 1, and one more for each reload. `None` outside forkfront.
pub fn generation() -> Option<u32> {
    number("FORKFRONT_GENERATION")
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}
