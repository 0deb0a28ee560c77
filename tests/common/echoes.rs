//! Backends that send back what they get, sessions through a proxy to them, and a rush of short ones.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::{Balancer, DEADLINE, Site, eventually};

/// Backends in this process.
pub struct Echoes {
    /// Where each listens.
    pub addresses: Vec<SocketAddr>,
    open: Arc<AtomicU64>,
}

impl Echoes {
    /// `n` of them, at the site's address.
    #[track_caller]
    pub fn start(site: &Site, n: usize) -> Self {
        let open = Arc::new(AtomicU64::new(0));
        let backend = |_| {
            let listener = TcpListener::bind((site.host.as_str(), 0)).expect("a port");
            let address = listener.local_addr().expect("bound");
            let open = Arc::clone(&open);
            std::thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let open = Arc::clone(&open);
                    open.fetch_add(1, Ordering::SeqCst);
                    std::thread::spawn(move || {
                        echo(client);
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            });
            address
        };
        Self {
            addresses: (0..n).map(backend).collect(),
            open,
        }
    }

    /// What stands behind `--to`.
    pub fn to(&self) -> String {
        let all: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        all.join(",")
    }

    /// Sessions that they have now.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::SeqCst)
    }

    /// A proxy to them with `n` workers, all ready.
    #[track_caller]
    pub fn behind<'a>(&self, site: &'a Site, n: u16, flags: &[&str]) -> Balancer<'a> {
        let (n, listen, to) = (n.to_string(), site.bind(), self.to());
        let mut words = vec!["proxy", "-l", &listen, "--to", &to, "-n", &n];
        words.extend(flags);
        Balancer::start(site, &words)
    }
}

fn echo(mut client: TcpStream) {
    let mut part = [0; 4096];
    while let Ok(n @ 1..) = client.read(&mut part) {
        if client.write_all(&part[..n]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

/// A session to an [`Echoes`].
pub struct Session(TcpStream);

impl Session {
    /// Connects, and says something once, so that it has a backend.
    #[track_caller]
    pub fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, DEADLINE).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("time-out");
        let mut this = Self(stream);
        assert!(this.is_alive(), "a new session");
        this
    }

    /// So many.
    #[track_caller]
    pub fn open_many(to: SocketAddr, count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::open(to)).collect()
    }

    /// What it says comes back.
    pub fn is_alive(&mut self) -> bool {
        let said = self.0.write_all(b"here\n");
        let mut back = [0; 5];
        said.is_ok() && self.0.read_exact(&mut back).is_ok() && &back == b"here\n"
    }

    /// The other end has closed it, in whatever way.
    pub fn has_ended(&mut self) -> bool {
        match self.0.read(&mut [0; 16]) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// Short sessions, one after the other in each of some threads.
pub struct Rush {
    stop: Arc<AtomicBool>,
    ended: Arc<Mutex<Ended>>,
    threads: Vec<JoinHandle<()>>,
}

/// How the sessions of a rush ended.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// As they should.
    pub well: u64,
    /// Otherwise: where, and with what.
    pub failed: BTreeMap<String, u64>,
}

impl Rush {
    /// Of so many threads.
    pub fn start(to: SocketAddr, threads: usize) -> Self {
        let (stop, ended) = (Arc::default(), Arc::<Mutex<Ended>>::default());
        let thread = |_| {
            let (stop, ended) = (Arc::<AtomicBool>::clone(&stop), Arc::clone(&ended));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let outcome = short(to);
                    let mut ended = ended.lock().expect("report");
                    match outcome {
                        Ok(()) => ended.well += 1,
                        Err(why) => *ended.failed.entry(why).or_default() += 1,
                    }
                }
            })
        };
        Self {
            threads: (0..threads).map(thread).collect(),
            stop,
            ended,
        }
    }

    /// Waits until so many more have ended well.
    #[track_caller]
    pub fn proceed(&self, count: u64) {
        let well = || self.ended.lock().expect("report").well;
        let from = well();
        eventually("the rush goes on", || {
            (well() >= from + count).then_some(())
        });
    }

    /// Ends after the sessions that are under way.
    pub fn stop(self) -> Ended {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client");
        }
        let ended = self.ended.lock().expect("report");
        ended.clone()
    }
}

/// One session: something there, the same back, and each side's end carried to the other.
fn short(to: SocketAddr) -> Result<(), String> {
    let at = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let mut stream = TcpStream::connect_timeout(&to, DEADLINE).map_err(at("connect"))?;
    let _ = stream.set_read_timeout(Some(DEADLINE));
    stream.write_all(b"a short one\n").map_err(at("write"))?;
    stream.shutdown(Shutdown::Write).map_err(at("shutdown"))?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back).map_err(at("read"))?;
    match back.as_slice() {
        b"a short one\n" => Ok(()),
        other => Err(format!("{} bytes came back", other.len())),
    }
}
