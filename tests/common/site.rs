//! A place of its own for each test: a directory, a loopback address and a port that no other test has, and a
//! mark in the environment by which every process that the test caused can be found again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where one scenario takes place. The directory goes when the site does.
pub struct Site {
    /// For sockets, journals and reports; 0711, so that workers of another uid can reach what they must.
    pub directory: PathBuf,
    /// What HOST tells the server.
    pub host: String,
    /// What PORT tells the server.
    pub port: u16,
    /// Environment for the primary and so for its workers.
    pub env: Vec<(String, String)>,
    /// Value of [`Site::MARK`] in the environment of every process of this scenario.
    pub mark: String,
    /// Where the search for its next port begins.
    next_port: AtomicU32,
}

static SITES: AtomicU32 = AtomicU32::new(0);

impl Site {
    /// The variable that marks this scenario's processes.
    pub const MARK: &'static str = "TEST_SITE";

    /// On a loopback address of its own: no two tests can meet.
    pub fn new() -> Self {
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let address = Ipv4Addr::new(
            127,
            1 + (pid >> 8 & 63) as u8,
            (pid & 255) as u8,
            1 + (number & 127) as u8,
        );
        Self::with(address.into(), number)
    }

    /// On an address that others use too: `0.0.0.0`, `::`, `127.0.0.1`, `::1`.
    pub fn on(host: &str) -> Self {
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        Self::with(host.parse().expect("an address"), number)
    }

    fn with(address: IpAddr, number: u32) -> Self {
        let mark = format!("{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(format!("ff-{mark}"));
        // A test that had this pid before us and was killed may have left it.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).expect("own directory");
        open_to_others(&directory);
        let start = std::process::id().wrapping_mul(37);
        let next_port = AtomicU32::new(start.wrapping_add(number * 11));
        Self {
            directory,
            host: address.to_string(),
            port: free_port(address, &next_port),
            env: Vec::new(),
            mark,
            next_port,
        }
    }

    /// As [`Site::new`], with node servers that finish what they have begun and keep a journal.
    pub fn graceful() -> Self {
        let site = Self::new();
        let journal = site.file("journal").display().to_string();
        site.env("ON_TERM", "close").env("JOURNAL", journal)
    }

    /// Adds to the environment of the primary.
    pub fn env(mut self, key: &str, value: impl ToString) -> Self {
        self.env.push((key.into(), value.to_string()));
        self
    }

    /// Where clients connect.
    pub fn to(&self) -> SocketAddr {
        let address: IpAddr = self.host.parse().expect("an address");
        let address = match address {
            IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(v6) if v6.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            other => other,
        };
        SocketAddr::new(address, self.port)
    }

    /// `HOST:PORT` as the server writes it.
    pub fn bind(&self) -> String {
        SocketAddr::new(self.host.parse().expect("an address"), self.port).to_string()
    }

    /// The control socket's path.
    pub fn control(&self) -> PathBuf {
        self.directory.join("run").join("control.sock")
    }

    /// `n` more ports that are free at the site's address, all different.
    pub fn ports(&self, n: usize) -> Vec<u16> {
        let ip: IpAddr = self.host.parse().expect("an address");
        (0..n).map(|_| free_port(ip, &self.next_port)).collect()
    }

    /// A file in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Every variable for the primary.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut all = vec![
            (Self::MARK.to_string(), self.mark.clone()),
            ("HOST".to_string(), self.host.clone()),
            ("PORT".to_string(), self.port.to_string()),
        ];
        all.extend(self.env.iter().cloned());
        all
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Nobody may have to pass through, but not to list.
fn open_to_others(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(directory, mode.clone()).expect("mode");
    let run = directory.join("run");
    std::fs::create_dir(&run).expect("run directory");
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o700)).expect("mode");
}

/// How many ports are tried for a site.
const PORTS: u16 = 10_000;

/// A port that is free now, and below the kernel's ephemeral range: whoever asks for any port, to listen or to connect
/// from, is not given it meanwhile. Shared addresses have ports of their own, so that nobody at another address is in
/// the way of a wildcard.
fn free_port(address: IpAddr, next: &AtomicU32) -> u16 {
    let own =
        matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 127 && v4 != Ipv4Addr::LOCALHOST);
    let (first, probes) = match own {
        true => (20_000, vec![address]),
        false => {
            let wildcards = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
            (10_000, wildcards.to_vec())
        }
    };
    (0..PORTS)
        .map(|_| first + (next.fetch_add(1, Ordering::Relaxed) % u32::from(PORTS)) as u16)
        .find(|&port| {
            let mut probes = probes.iter();
            probes.all(|&address| TcpListener::bind((address, port)).is_ok())
        })
        .expect("a free port")
}

/// A fixture server's path.
pub fn server(name: &str) -> String {
    format!("{}/tests/servers/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The python that has uvicorn and gunicorn: the one `scripts/test` made, else the system's.
pub fn python() -> String {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../test-venv/bin/python3");
    if made.exists() {
        made.display().to_string()
    } else {
        "python3".to_string()
    }
}
