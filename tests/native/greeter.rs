//! The native worker of the README, word for word.

use forkfront::worker::{Connection, Options, Stopper};
use std::io::{self, Read, Write};

fn greet(connection: &mut Connection, slot: &str) -> io::Result<()> {
    let mut request = [0; 4096];
    if connection.read(&mut request)? == 0 {
        return Ok(());
    }
    let body = format!("hello from slot {slot}\n");
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length";
    write!(connection, "{head}: {}\r\n\r\n{body}", body.len())
}

fn main() -> io::Result<()> {
    let slot = std::env::var("FORKFRONT_SLOT").unwrap_or_default();
    let stopper = Stopper::on_signals()?;
    let listener = Options::new().stopper(&stopper).bind("127.0.0.1:8080")?;
    for connection in listener.incoming() {
        if let Err(error) = greet(&mut connection?, &slot) {
            eprintln!("a client: {error}");
        }
    }
    Ok(()) // told to go, and all that was dealt to it is answered
}
