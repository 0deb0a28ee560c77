//! Sessions whose bytes are summed at both ends: backends that know from a session's number what they are to hear and
//! say, and clients that compare.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{DEADLINE, Random, Site};

/// The longest that one side says, bytes.
const MOST: usize = 1 << 20;

type Sum = [u8; 32];

/// What is said: a part of this, from a place that depends on the session.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::of(1);
    let words = (0..MOST / 4).flat_map(|_| random.next().to_le_bytes());
    words.collect()
});

/// Who ends last.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Nobody,
    Client,
    Backend,
}

/// What one session does, by its number.
struct Plan {
    up: &'static [u8],
    down: &'static [u8],
    last: Last,
    random: Random,
}

impl Plan {
    fn of(number: u64) -> Self {
        let mut random = Random::of(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut part = || {
            let most = [1, 100, 10_000, 200_000, MOST as u64][random.below(5) as usize];
            let count = random.below(most) as usize;
            let from = random.below(MOST as u64) as usize;
            &BYTES[from..from + count]
        };
        let (up, down) = (part(), part());
        let last = [Last::Nobody, Last::Client, Last::Backend][random.below(3) as usize];
        Self {
            up,
            down,
            last,
            random,
        }
    }
}

/// Says it in pieces, with pauses.
fn say(mut to: &TcpStream, bytes: &[u8], random: &mut Random) -> io::Result<()> {
    let most = [500, 20_000, 1 << 20][random.below(3) as usize];
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = (1 + random.below(most) as usize).min(rest.len());
        to.write_all(&rest[..piece])?;
        rest = &rest[piece..];
        if random.below(20) == 0 {
            thread::sleep(Duration::from_micros(random.below(1000)));
        }
    }
    Ok(())
}

/// The sum of all that comes.
fn hear(mut from: &TcpStream) -> io::Result<(u64, Sum)> {
    let (mut sum, mut count, mut part) = (Sha256::new(), 0, vec![0; 64 * 1024]);
    loop {
        match from.read(&mut part)? {
            0 => return Ok((count, sum.finalize().into())),
            n => {
                sum.update(&part[..n]);
                count += n as u64;
            }
        }
    }
}

/// Both directions of one end at once: its sum of what came.
fn converse(stream: &TcpStream, bytes: &[u8], wait: bool, mut random: Random) -> io::Result<Sum> {
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    thread::scope(|scope| {
        let saying = scope.spawn(|| {
            say(stream, bytes, &mut random)?;
            if wait {
                return Ok(());
            }
            stream.shutdown(Shutdown::Write)
        });
        let heard = hear(stream)?.1;
        saying.join().expect("no panic")?;
        if wait {
            stream.shutdown(Shutdown::Write)?;
        }
        Ok(heard)
    })
}

/// What one client saw.
fn session(to: SocketAddr, number: u64) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&to, DEADLINE)?;
    let plan = Plan::of(number);
    (&stream).write_all(&number.to_le_bytes())?;
    let heard = converse(&stream, plan.up, plan.last == Last::Client, plan.random)?;
    match heard == sum(plan.down) {
        true => Ok(()),
        false => Err(io::Error::other("the backend's bytes came changed")),
    }
}

fn sum(bytes: &[u8]) -> Sum {
    Sha256::digest(bytes).into()
}

/// Backends that sum.
pub struct Sums {
    /// Where they are.
    pub addresses: Vec<SocketAddr>,
    well: Arc<AtomicU64>,
    failed: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Sums {
    /// `n` of them, at the site's address.
    pub fn start(site: &Site, n: usize) -> Self {
        let mut this = Self {
            addresses: Vec::new(),
            well: Arc::default(),
            failed: Arc::default(),
        };
        for _ in 0..n {
            let door = TcpListener::bind((site.host.as_str(), 0)).expect("a port");
            this.addresses.push(door.local_addr().expect("bound"));
            let (well, failed) = (Arc::clone(&this.well), Arc::clone(&this.failed));
            thread::spawn(move || {
                for client in door.incoming().flatten() {
                    let (well, failed) = (Arc::clone(&well), Arc::clone(&failed));
                    thread::spawn(move || match backend(&client) {
                        Ok(()) => drop(well.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => note(&failed, &format!("backend: {error}")),
                    });
                }
            });
        }
        this
    }

    /// What stands behind `--to`.
    pub fn to(&self) -> String {
        let all: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        all.join(",")
    }

    /// `count` sessions, so many at a time, each summed at both ends: what failed.
    pub fn run(&self, to: SocketAddr, count: u64, at_a_time: u64) -> BTreeMap<String, u64> {
        let before = self.well.load(Ordering::SeqCst);
        thread::scope(|scope| {
            for lane in 0..at_a_time {
                scope.spawn(move || {
                    for number in (lane..count).step_by(at_a_time as usize) {
                        if let Err(error) = session(to, number) {
                            note(&self.failed, &format!("client: {error}"));
                        }
                    }
                });
            }
        });
        super::eventually("every session is over at the backends", || {
            let failed: u64 = self.failed.lock().expect("counts").values().sum();
            let well = self.well.load(Ordering::SeqCst) - before;
            (well + failed >= count).then_some(())
        });
        std::mem::take(&mut self.failed.lock().expect("counts"))
    }
}

/// What one backend heard and said.
fn backend(stream: &TcpStream) -> io::Result<()> {
    let mut number = [0; 8];
    stream.set_read_timeout(Some(DEADLINE))?;
    { stream }.read_exact(&mut number)?;
    let mut plan = Plan::of(u64::from_le_bytes(number));
    let random = Random::of(plan.random.next() | 1);
    let heard = converse(stream, plan.down, plan.last == Last::Backend, random)?;
    match heard == sum(plan.up) {
        true => Ok(()),
        false => Err(io::Error::other("the client's bytes came changed")),
    }
}

fn note(failed: &Mutex<BTreeMap<String, u64>>, what: &str) {
    let mut failed = failed.lock().expect("counts");
    *failed.entry(what.to_owned()).or_default() += 1;
}
