//! A whole native worker: four threads that block in accept, ready when it says so, gone when it is drained.
//! Runs alone too. Answers `slot pid id` to GET /id, and `/hold` after a second, as the fixture servers do.
//!
//!     forkfront run -n 4 -- target/debug/examples/threads 127.0.0.1:8080

use std::io::{self, BufRead, BufReader, Write};
use std::time::Duration;

use forkfront::worker::{Connection, Listener, Options, Stopper, slot};

fn main() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    // Before any thread is there, so that no thread is interrupted by the signals.
    let stopper = Stopper::on_signals()?;
    let listener = Options::new()
        .nodelay(true)
        .ready_on_bind(false)
        .stopper(&stopper)
        .bind(address)?;
    // A program that has caches to fill does it here, with the address its own and no client waiting on it.
    listener.ready()?;
    eprintln!("ready, balanced: {}", listener.is_balanced());

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| serve(&listener));
        }
    });
    eprintln!("ended: {:?}", listener.ended());
    Ok(())
}

/// Until the primary drains this worker or a signal comes. What is being answered then is finished first.
fn serve(listener: &Listener) {
    for connection in listener {
        match connection {
            // A client that goes away in the middle is its own affair.
            Ok(connection) => drop(answer(connection)),
            Err(error) => eprintln!("cannot accept: {error}"),
        }
    }
}

fn answer(mut connection: Connection) -> io::Result<()> {
    connection
        .stream()
        .set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut line = String::new();
    let mut request = BufReader::new(connection.stream());
    request.read_line(&mut line)?;
    let mut field = String::new();
    while request.read_line(&mut field)? > 2 {
        field.clear();
    }
    let path = line
        .split(' ')
        .nth(1)
        .unwrap_or("/")
        .trim_start_matches('/');
    if path == "hold" {
        std::thread::sleep(Duration::from_secs(1));
    }
    let slot = slot().map_or_else(|| "-".into(), |slot| slot.to_string());
    let body = format!("{slot} {} {path}\n", std::process::id());
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
