//! Children as `sys::process` starts them: clean, waited for by pidfd, and none left behind.
//!
//! One test function per fact, real processes. Tests that collect any child run in this binary only, one
//! after the other, since `waitid` for all children would take those of a test beside it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forkfront::sys::process::{
    self, Child, Credentials, Exit, Launch, session_members, signal, signal_group, try_wait,
};
use forkfront::sys::signals::{Signal, Signals};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
const PATIENCE: Duration = Duration::from_secs(20);

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shell(script: &str) -> Launch {
    Launch {
        program: PathBuf::from("/bin/sh"),
        args: ["sh", "-c", script].map(OsString::from).to_vec(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: None,
        identity: None,
        nofile: None,
        cpu: None,
        death_signal: None,
    }
}

#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn wait(child: &Child) -> Exit {
    until("an exit", || try_wait(child.pidfd.as_fd()).unwrap())
}

/// All that comes out of a pipe until its writers are gone.
#[track_caller]
fn drain(pipe: &OwnedFd) -> String {
    let mut file = File::from(pipe.try_clone().unwrap());
    let mut bytes = Vec::new();
    until("end of output", || match file.read_to_end(&mut bytes) {
        Ok(_) => Some(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    });
    String::from_utf8(bytes).unwrap()
}

#[track_caller]
fn output(launch: &Launch) -> String {
    let child = launch.start().unwrap();
    let text = drain(&child.stdout);
    let errors = drain(&child.stderr);
    assert_eq!(wait(&child), Exit::Code(0), "{errors}");
    text
}

/// `/proc/self/status` of a child as a map.
fn status(launch: &Launch) -> BTreeMap<String, String> {
    output(launch)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

#[test]
fn a_child_blocks_and_ignores_nothing() {
    let _alone = alone();
    // The primary's own state: signals blocked, SIGPIPE ignored (by Rust's runtime).
    let _signals = Signals::block_and_watch().unwrap();
    let status = status(&shell("exec cat /proc/self/status"));
    for name in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
        assert_eq!(status[name], "0000000000000000", "{name}");
    }
}

#[test]
fn a_child_leads_its_own_session_and_group() {
    let _alone = alone();
    let child = shell("cat /proc/self/stat; sleep 60 & echo up; wait")
        .start()
        .unwrap();
    let mut file = File::from(child.stdout.try_clone().unwrap());
    let mut text = String::new();
    until("the child's line", || {
        let _ = file.read_to_string(&mut text);
        text.contains("up").then_some(())
    });
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split(' ').collect();
    let pid = child.pid.to_string();
    assert_eq!(fields[3], pid, "process group in {text}");
    assert_eq!(fields[4], pid, "session in {text}");
    assert_eq!(fields[5], "0", "terminal in {text}");
    let members = until("both processes", || {
        Some(session_members(child.pid)).filter(|members| members.len() == 2)
    });
    assert_eq!(members[0], child.pid);
    assert_eq!(process::parent_of(members[1]), Some(child.pid));
    signal_group(child.pid, Signal::SIGKILL).unwrap();
    assert_eq!(wait(&child), Exit::Signal(9));
    until("an empty session", || {
        session_members(child.pid).is_empty().then_some(())
    });
}

#[test]
fn a_child_has_three_descriptors_whatever_leaks_into_us() {
    let _alone = alone();
    let mut leaks = Vec::new();
    for _ in 0..3 {
        let null = File::open("/dev/null").unwrap();
        // dup(2): the copy is not close-on-exec.
        leaks.push(nix::unistd::dup(&null).unwrap());
    }
    // `ls` itself opens the directory as 3.
    let text = output(&shell("exec ls -l /proc/self/fd"));
    let fds: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(left, _)| left.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(fds, ["0", "1", "2", "3"], "{text}");
    assert!(text.contains("0 -> /dev/null"), "{text}");
    assert!(text.contains("1 -> pipe:"), "{text}");
    assert!(text.contains("2 -> pipe:"), "{text}");
}

#[test]
fn the_pipes_block_the_child_and_never_us() {
    let _alone = alone();
    let child = shell("cat /proc/self/fdinfo/1 >&2; sleep 60")
        .start()
        .unwrap();
    let mut byte = [0];
    let error = File::from(child.stdout.try_clone().unwrap())
        .read(&mut byte)
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let mut text = String::new();
    let mut file = File::from(child.stderr.try_clone().unwrap());
    until("the child's flags", || {
        let _ = file.read_to_string(&mut text);
        text.contains("flags:").then_some(())
    });
    let flags = text.split_once("flags:").unwrap().1.split_whitespace();
    let flags = i32::from_str_radix(flags.clone().next().unwrap(), 8).unwrap();
    assert_eq!(flags & libc::O_NONBLOCK, 0, "{text}");
    signal_group(child.pid, Signal::SIGKILL).unwrap();
    wait(&child);
}

#[test]
fn limits_directory_and_environment_are_as_asked() {
    let _alone = alone();
    let mut launch = shell("ulimit -Sn; ulimit -Hn; pwd; exec env");
    launch.nofile = Some((64, 128));
    launch.cwd = Some("/usr".into());
    launch.env.push(("GREETING".into(), "hello".into()));
    let text = output(&launch);
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["64", "128", "/usr"]);
    lines.sort_unstable();
    let env: Vec<&str> = lines
        .into_iter()
        .filter(|line| line.contains('='))
        .collect();
    // The shell adds PWD (and some add OLDPWD, _ and SHLVL).
    assert!(env.contains(&"GREETING=hello"), "{text}");
    assert!(env.contains(&"PATH=/usr/bin:/bin"), "{text}");
    assert!(!text.contains("CARGO"), "{text}");
}

#[test]
fn a_failed_exec_is_an_error_and_leaves_nobody() {
    let _alone = alone();
    for (program, expected) in [
        ("/nonexistent/server", io::ErrorKind::NotFound),
        ("/etc/passwd", io::ErrorKind::PermissionDenied),
        ("/usr", io::ErrorKind::PermissionDenied),
    ] {
        let mut launch = shell("");
        launch.program = program.into();
        assert_eq!(launch.start().unwrap_err().kind(), expected, "{program}");
    }
    let mut launch = shell("");
    launch.cwd = Some("/nonexistent".into());
    assert_eq!(launch.start().unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(process::reap_strays(|_| false), 0);
}

#[test]
fn exits_are_told_apart() {
    let _alone = alone();
    let child = shell("exit 7").start().unwrap();
    let exit = wait(&child);
    assert_eq!(exit, Exit::Code(7));
    assert_eq!(exit.to_string(), "exit code 7");
    // Collected: no signal can reach whoever has the pid next.
    let error = signal(child.pidfd.as_fd(), Signal::SIGTERM).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    let error = try_wait(child.pidfd.as_fd()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECHILD));

    let child = shell("exec sleep 60").start().unwrap();
    assert_eq!(try_wait(child.pidfd.as_fd()).unwrap(), None);
    signal(child.pidfd.as_fd(), Signal::SIGTERM).unwrap();
    assert_eq!(wait(&child).to_string(), "SIGTERM");
    let child = shell("kill -40 $$").start().unwrap();
    assert_eq!(wait(&child).to_string(), "signal 40");
    for everybody in [0, 1, u32::MAX] {
        assert!(signal_group(everybody, Signal::SIGTERM).is_err());
    }
}

#[test]
fn orphans_come_to_us_and_workers_are_left_to_their_pidfd() {
    let _alone = alone();
    process::become_subreaper().unwrap();
    let worker = shell("(sleep 0.05 &) ; exec sleep 60").start().unwrap();
    let orphan = until("the orphan", || {
        session_members(worker.pid)
            .into_iter()
            .find(|&pid| pid != worker.pid && process::parent_of(pid) == Some(std::process::id()))
    });
    until("it to be collected", || {
        process::reap_strays(|pid| pid == worker.pid);
        process::parent_of(orphan).is_none().then_some(())
    });

    signal(worker.pidfd.as_fd(), Signal::SIGKILL).unwrap();
    until("a zombie", || {
        process::session_of(worker.pid).is_none().then_some(())
    });
    assert_eq!(process::reap_strays(|pid| pid == worker.pid), 0);
    let stray = shell("exit 0").start().unwrap();
    until("the stray beside the dead worker", || {
        (process::reap_strays(|pid| pid == worker.pid) == 1).then_some(())
    });
    assert!(try_wait(stray.pidfd.as_fd()).is_err());
    let seen = process::peek_exit(worker.pidfd.as_fd()).unwrap();
    assert_eq!(seen, Some(Exit::Signal(9)));
    assert_eq!(wait(&worker), Exit::Signal(9));
}

#[test]
fn a_session_is_reached_beyond_its_group() {
    let _alone = alone();
    process::become_subreaper().unwrap();
    // timeout(1) puts itself and its command into a group of their own.
    let worker = shell("timeout 60 sleep 60 & wait").start().unwrap();
    let strays = until("both", || {
        Some(session_members(worker.pid)).filter(|members| members.len() == 3)
    });
    until("timeout to have left the group", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", strays[1])).unwrap();
        let group = stat.rsplit_once(')').unwrap().1.split(' ').nth(3).unwrap();
        (group == strays[1].to_string()).then_some(())
    });
    signal_group(worker.pid, Signal::SIGKILL).unwrap();
    wait(&worker);
    assert_eq!(session_members(worker.pid), strays[1..]);
    let still = |pid| process::session_of(pid) == Some(worker.pid);
    let kill = |pid: &&u32| process::signal_if(**pid, Signal::SIGKILL, still);
    assert_eq!(strays[1..].iter().filter(kill).count(), 2);
    assert!(!process::signal_if(strays[1], Signal::SIGKILL, |_| false));
    until("them to be collected", || {
        process::reap_strays(|_| false);
        let gone = |pid: &u32| process::parent_of(*pid).is_none();
        strays[1..].iter().all(gone).then_some(())
    });
}

#[test]
fn privilege_is_dropped_whole_or_not_at_all() {
    let _alone = alone();
    let nobody = Credentials {
        uid: 65_534,
        gid: 65_533,
        groups: vec![65_532, 65_533],
    };
    let mut launch = shell("exec cat /proc/self/status");
    launch.identity = Some(nobody);
    if !nix::unistd::geteuid().is_root() {
        let error = launch.start().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(
            error.to_string(),
            "may not become user 65534 and group 65533"
        );
        return;
    }
    let dropped = status(&launch);
    assert_eq!(dropped["Uid"], "65534\t65534\t65534\t65534");
    assert_eq!(dropped["Gid"], "65533\t65533\t65533\t65533");
    assert_eq!(dropped["Groups"], "65532 65533");
    for name in ["CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(dropped[name], "0000000000000000", "{name}");
    }
    // Without supplementary groups none stay; and root's own is no way back.
    launch.identity.as_mut().unwrap().groups.clear();
    assert_eq!(status(&launch)["Groups"], "");
}

#[test]
fn a_death_signal_needs_the_main_thread() {
    let mut launch = shell("exit 0");
    launch.death_signal = Some(Signal::SIGTERM);
    // Tests run in threads of their own.
    let error = launch.start().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
