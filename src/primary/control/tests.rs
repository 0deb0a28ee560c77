//! Tests of [`super`] on real sockets and directories; nothing else calls them.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::IDLE_TIMEOUT;
use super::{Control, MOST_CLIENTS};
use crate::protocol::{REQUEST_MAX, Request};
use crate::sys::handover::Luggage;

struct Door {
    control: Control,
    path: PathBuf,
}

impl Door {
    fn open(test: &str) -> Self {
        let file = format!("forkfront-control-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(file);
        let listener = UnixListener::bind(&path).unwrap();
        let control = Control::new(listener.into()).unwrap();
        Self { control, path }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream
    }

    fn ready(&mut self) -> Vec<(super::ClientId, Request)> {
        self.control.ready(Instant::now())
    }

    /// One request, answered with an empty object.
    fn serve_one(&mut self, mut client: &UnixStream) {
        client.write_all(b"{\"verb\":\"status\"}\n").unwrap();
        let asked = self.ready();
        assert_eq!(asked.len(), 1);
        self.control.finish(asked[0].0, Ok(json!({})));
        assert_eq!(line(client), json!({"ok": {}}));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).unwrap();
    }
}

fn line(client: &UnixStream) -> Value {
    let mut text = String::new();
    BufReader::new(client).read_line(&mut text).unwrap();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// What is left to read until the primary closes.
fn rest(mut client: &UnixStream) -> String {
    let mut text = Vec::new();
    let _ = client.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn clients_cross_an_upgrade_in_the_middle_of_everything() {
    let mut door = Door::open("upgrade");
    let (mut waits, mut half, mut asked) = (door.connect(), door.connect(), door.connect());
    waits.write_all(b"{\"verb\":\"status\"}\n").unwrap();
    let one = door.ready().remove(0).0;
    half.write_all(b"{\"verb\":").unwrap();
    assert!(door.ready().is_empty());
    asked.write_all(b"{\"verb\":\"status\"}\n").unwrap();
    let late = door.connect();
    let mut luggage = Luggage::default();
    let frozen = serde_json::to_string(&door.control.freeze(&mut luggage)).unwrap();
    let mut luggage = crate::sys::handover::crossed(&luggage);
    let listener = door.control.listener.try_clone().unwrap();
    let frozen = serde_json::from_str(&frozen).unwrap();
    door.control = Control::thaw(listener.into(), frozen, &mut luggage).unwrap();
    drop(luggage);
    assert_eq!(door.control.waiting(), [one]);
    assert!(
        door.control
            .deadline()
            .is_some_and(|at| at <= Instant::now())
    );
    let again = door.ready();
    assert_eq!(again.len(), 1, "what was in the socket is read");
    assert_ne!(again[0].0, one);
    door.control.finish(again[0].0, Ok(json!({"n": 2})));
    door.control.finish(one, Ok(json!({"n": 1})));
    half.write_all(b"\"status\"}\n").unwrap();
    let rest = door.ready();
    door.control.finish(rest[0].0, Ok(json!({"n": 3})));
    assert_eq!(line(&waits), json!({"ok": {"n": 1}}));
    assert_eq!(line(&asked), json!({"ok": {"n": 2}}));
    assert_eq!(line(&half), json!({"ok": {"n": 3}}));
    door.serve_one(&late);
}

#[test]
fn asks_and_is_answered_with_progress() {
    let mut door = Door::open("ask");
    let mut client = door.connect();
    assert!(door.ready().is_empty());
    // Split in the middle, with more behind it than it may ask at once.
    client.write_all(b"{\"verb\":").unwrap();
    assert!(door.ready().is_empty());
    client
        .write_all(b"\"stop\"}\n{\"verb\":\"status\"}\n")
        .unwrap();
    let asked = door.ready();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].1, Request::Stop);
    assert!(door.ready().is_empty());
    door.control.progress(asked[0].0, "2 left");
    door.control.finish::<()>(asked[0].0, Err("no".into()));
    let mut reader = BufReader::new(&client);
    let mut text = String::new();
    reader.read_line(&mut text).unwrap();
    reader.read_line(&mut text).unwrap();
    assert_eq!(text, "{\"progress\":\"2 left\"}\n{\"error\":\"no\"}\n");
    assert!(door.control.deadline().unwrap() <= Instant::now());
    let next = door.ready();
    assert_eq!(next[0].1, Request::Status);
    // A late second answer, and one to nobody, change nothing.
    door.control.finish(next[0].0, Ok(Value::Null));
    door.control.finish(next[0].0, Ok(Value::Null));
    drop(client);
    door.ready();
    door.control.progress(next[0].0, "nobody");
    assert!(door.control.clients.is_empty());
}

#[test]
fn a_client_that_only_asks_still_gets_its_answer() {
    let mut door = Door::open("half");
    let mut client = door.connect();
    client.write_all(b"{\"verb\":\"status\"}\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let asked = door.ready();
    assert!(door.ready().is_empty());
    door.control.finish(asked[0].0, Ok(Value::Null));
    door.ready();
    assert_eq!(rest(&client), "{\"ok\":null}\n");
    assert!(door.control.clients.is_empty());
}

#[test]
fn garbage_is_answered_and_closed() {
    let mut door = Door::open("garbage");
    let too_long = [vec![b'x'; REQUEST_MAX], b"\n".to_vec()].concat();
    let cases: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\n",
        b"\0\0\0\0\n",
        b"{\"verb\":\"dance\"}\n",
        &too_long,
    ];
    for case in cases {
        let mut client = door.connect();
        client.write_all(case).unwrap();
        assert!(door.ready().is_empty());
        door.ready();
        let text = rest(&client);
        assert!(
            text.starts_with("{\"error\":") && text.ends_with('\n'),
            "{text}"
        );
        assert!(door.control.clients.is_empty());
    }
}

#[test]
fn random_bytes_never_hurt() {
    let mut door = Door::open("random");
    let mut chance = oorandom::Rand64::new(1);
    let mut random = || chance.rand_u64();
    for _ in 0..2_000 {
        let mut client = door.connect();
        let length = random() as usize % 300;
        let mut bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        if random() % 2 == 0 {
            bytes.splice(0..0, b"{\"verb\":".iter().copied());
        }
        let _ = client.write_all(&bytes);
        for (client, _) in door.ready() {
            door.control.finish(client, Ok(Value::Null));
        }
    }
    door.ready();
    let client = door.connect();
    door.serve_one(&client);
    assert!(door.control.clients.len() <= MOST_CLIENTS);
}

#[test]
fn silent_clients_give_way_and_time_out() {
    let mut door = Door::open("silent");
    let idle: Vec<_> = (0..4 * MOST_CLIENTS).map(|_| door.connect()).collect();
    while door.control.reception.has_more()
        || door
            .control
            .reception
            .deadline(std::iter::empty())
            .is_some()
    {
        assert!(door.ready().is_empty());
    }
    assert_eq!(door.control.clients.len(), MOST_CLIENTS);
    assert!(rest(&idle[0]).contains("busy"));
    let client = door.connect();
    door.serve_one(&client);
    let later = Instant::now() + IDLE_TIMEOUT;
    assert!(door.control.deadline().unwrap() <= later);
    assert!(
        door.control
            .ready(later + Duration::from_secs(1))
            .is_empty()
    );
    assert!(door.control.clients.is_empty());
}

#[test]
fn who_waits_for_an_answer_keeps_its_place() {
    let mut door = Door::open("full");
    let waiting: Vec<_> = (0..MOST_CLIENTS)
        .map(|_| {
            let mut client = door.connect();
            client.write_all(b"{\"verb\":\"stop\"}\n").unwrap();
            client
        })
        .collect();
    let asked = door.ready();
    assert_eq!(asked.len(), MOST_CLIENTS);
    let refused = door.connect();
    assert!(door.ready().is_empty());
    assert!(rest(&refused).contains("busy"));
    // Nor do they time out: a stop takes as long as it takes.
    let later = Instant::now() + 100 * IDLE_TIMEOUT;
    assert!(door.control.ready(later).is_empty());
    for (client, _) in asked {
        door.control.finish(client, Ok(Value::Null));
    }
    assert!(
        waiting
            .iter()
            .all(|client| line(client) == json!({"ok": null}))
    );
}

#[test]
fn who_does_not_read_is_dropped() {
    let mut door = Door::open("unread");
    let mut client = door.connect();
    client.write_all(b"{\"verb\":\"stop\"}\n").unwrap();
    let asked = door.ready()[0].0;
    let line = "x".repeat(64 * 1024);
    for _ in 0..200 {
        door.control.progress(asked, &line);
    }
    door.ready();
    assert!(door.control.clients.is_empty());
}

#[test]
fn a_long_answer_goes_out_as_the_client_reads() {
    let mut door = Door::open("long");
    let mut client = door.connect();
    client.write_all(b"{\"verb\":\"status\"}\n").unwrap();
    let asked = door.ready()[0].0;
    let long = "y".repeat(2 * 1024 * 1024);
    door.control.finish(asked, Ok(json!(long)));
    let length = long.len();
    let reader = std::thread::spawn(move || line(&client)["ok"].as_str().unwrap().len());
    let patience = Instant::now() + Duration::from_secs(10);
    while !reader.is_finished() && Instant::now() < patience {
        door.ready();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(reader.join().unwrap(), length);
}
