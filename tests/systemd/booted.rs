//! A real systemd with the real unit: `tests/programs/boot_systemd` boots it, here it is told what to do.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use crate::common::{Site, eventually, server};

/// A systemd of its own, at a site. Killed when dropped, with all that it runs.
pub struct Booted<'a> {
    site: &'a Site,
    script: Child,
    pid: String,
}

/// What `systemctl` said.
pub struct Said {
    /// It exited with 0.
    pub well: bool,
    /// Both outputs.
    pub text: String,
}

impl<'a> Booted<'a> {
    /// Boots with the units of `scripts/`, the app `web` of `workers` nodes, and what else `app` says of it.
    #[track_caller]
    pub fn new(site: &'a Site, workers: u16, app: &str) -> Self {
        let this = Self::prepare(site);
        this.app(workers, app);
        this
    }

    #[track_caller]
    fn prepare(site: &'a Site) -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let file = |name: &str| site.file("boot").join(name);
        for directory in ["bin", "srv", "etc/systemd/system"] {
            std::fs::create_dir_all(file(directory)).expect("made");
        }
        // A user of the unit's own has to get to them.
        for path in ["", "bin", "srv", "etc"] {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(file(path), mode).expect("mode");
        }
        for unit in ["forkfront.service", "forkfront.socket"] {
            let to = file("etc/systemd/system").join(unit);
            std::fs::copy(format!("{root}/scripts/{unit}"), to).expect("copied");
        }
        std::fs::copy(env!("CARGO_BIN_EXE_forkfront"), file("bin/forkfront")).expect("copied");
        std::fs::copy(server("http.js"), file("srv/http.js")).expect("copied");
        for name in ["passwd", "group", "os-release"] {
            std::fs::copy(format!("/etc/{name}"), file("etc").join(name)).expect("copied");
        }
        let links = Command::new("cp")
            .args(["-a", "/etc/alternatives"])
            .arg(file("etc"))
            .status();
        assert!(links.is_ok_and(|status| status.success()));
        let write = |name: &str, text: &str| std::fs::write(file(name), text).expect("written");
        write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        write(
            "etc/nsswitch.conf",
            "passwd: files systemd\ngroup: files systemd\n",
        );
        let mut script = Command::new(format!("{root}/tests/programs/boot_systemd"))
            .arg(site.file("boot"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash");
        let mut line = String::new();
        let stdout = script.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let pid = line
            .trim()
            .strip_prefix("pid ")
            .unwrap_or_default()
            .to_owned();
        let this = Self { site, script, pid };
        eventually("systemd is up", || {
            let said = this.systemctl(&["is-system-running"]);
            ["running", "degraded"]
                .contains(&said.text.trim())
                .then_some(())
        });
        this
    }

    /// Writes what forkfront is to run.
    pub fn app(&self, workers: u16, more: &str) {
        let (host, port) = (&self.site.host, self.site.port);
        let text = format!(
            "[[app]]\nname = \"web\"\ncommand = [\"/usr/bin/env\", \"node\", \"/srv/http.js\"]\nworkers = {workers}\n\
             env = {{ HOST = \"{host}\", PORT = \"{port}\" }}\n{more}\n"
        );
        std::fs::write(self.file("etc/forkfront.toml"), text).expect("written");
    }

    /// A drop-in of one of the units.
    #[track_caller]
    pub fn drop_in(&self, unit: &str, text: &str) {
        let directory = self.file(&format!("etc/systemd/system/{unit}.d"));
        std::fs::create_dir_all(&directory).expect("made");
        std::fs::write(directory.join("test.conf"), text).expect("written");
        self.does(&["daemon-reload"]);
    }

    /// A file of its tree.
    pub fn file(&self, name: &str) -> PathBuf {
        self.site.file("boot").join(name)
    }

    /// Runs a program in there.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.args([
            "60", "nsenter", "-t", &self.pid, "-m", "-p", "-C", "-u", "-i",
        ]);
        command.args([
            "env",
            "-i",
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "SYSTEMD_PAGER=",
            "LANG=C",
        ]);
        command.args(words).output().expect("nsenter")
    }

    /// Runs `systemctl WORDS` in there.
    #[track_caller]
    pub fn systemctl(&self, words: &[&str]) -> Said {
        let output = self.run(&[&["systemctl", "--no-pager"], words].concat());
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Said {
            well: output.status.success(),
            text: text.into_owned(),
        }
    }

    /// The same, which must do what it was told.
    #[track_caller]
    pub fn does(&self, words: &[&str]) -> String {
        let said = self.systemctl(words);
        assert!(
            said.well,
            "systemctl {words:?}: {}\n{}",
            said.text,
            self.journal()
        );
        said.text
    }

    /// A property of forkfront.service.
    #[track_caller]
    pub fn property(&self, name: &str) -> String {
        let said = self.does(&["show", "--value", "-p", name, "forkfront.service"]);
        said.trim().to_owned()
    }

    /// The primary's pid as we see it.
    #[track_caller]
    pub fn primary(&self) -> u32 {
        let inner: u32 = self.property("MainPID").parse().expect("a pid");
        let is_it = |pid: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let last = numbers.and_then(|numbers| numbers.split_whitespace().last());
            numbers.is_some_and(|all| all.split_whitespace().count() > 1)
                && last == Some(&inner.to_string())
                && std::fs::read_to_string(format!("/proc/{pid}/environ"))
                    .is_ok_and(|env| env.contains("NOTIFY_SOCKET="))
                && self.is_in_there(*pid)
        };
        let all = std::fs::read_dir("/proc").expect("proc").flatten();
        let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(is_it).expect("the primary is there")
    }

    fn is_in_there(&self, pid: u32) -> bool {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        namespace(&pid.to_string()) == namespace(&self.pid)
    }

    /// What forkfront and systemd said of it.
    pub fn journal(&self) -> String {
        let output = self.run(&["journalctl", "--no-pager", "-u", "forkfront.service"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Booted<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.journal());
        }
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
