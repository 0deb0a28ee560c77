//! What this process may really use: processors (affinity and cgroup quota counted) and open files.
//!
//! Read at start by `cli` (`-n auto`) and by the primary; never changes anything but the soft limit of open
//! files.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// How many processors this process may keep busy: those it may run on, or fewer if a cgroup quota (v2 or v1,
/// here or in any cgroup above) gives less time than that; a part of one counts as one. At least 1.
pub fn cpus() -> usize {
    let affinity = own_cpus().len();
    quota(Path::new("/"))
        .map_or(affinity, |quota| affinity.min(quota))
        .max(1)
}

/// Numbers of the processors that this thread may run on: its affinity mask, of which the kernel leaves out what
/// the cpuset does not have. The kernel refuses a set smaller than its own, hence the growth.
pub fn own_cpus() -> Vec<usize> {
    const LARGEST: usize = 1 << 16;
    let mut set = vec![0_u64; 16];
    while set.len() <= LARGEST {
        // SAFETY: the kernel writes at most `size_of_val` bytes into the vector, whose words are plain numbers.
        let done = unsafe {
            libc::sched_getaffinity(0, size_of_val(set.as_slice()), set.as_mut_ptr().cast())
        };
        if done == 0 {
            let is_set = |cpu: &usize| set[cpu / 64] >> (cpu % 64) & 1 == 1;
            return (0..set.len() * 64).filter(is_set).collect();
        }
        set.resize(set.len() * 2, 0);
    }
    Vec::new()
}

/// Whether nothing is wrong but that this process or the system has no descriptor or memory to spare now.
pub fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// The least quota, in processors, rounded up, of this process's cgroups and those above them. `root` is `/`.
fn quota(root: &Path) -> Option<usize> {
    let memberships = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    memberships
        .lines()
        .filter_map(|line| quota_of(line, &mounts, root))
        .min()
}

/// One line of `/proc/self/cgroup`: `0::PATH` (v2) or `N:CONTROLLERS:PATH` (v1).
fn quota_of(line: &str, mounts: &[Mount], root: &Path) -> Option<usize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let v2 = controllers.is_empty();
    if !v2 && !controllers.split(',').any(|controller| controller == "cpu") {
        return None;
    }
    let mount = mounts.iter().find(|mount| mount.v2 == v2)?;
    let top = root.join(mount.at.strip_prefix("/").ok()?);
    // Without a cgroup namespace a container sees its path from the host's root but its own mount; with one,
    // a path above the namespace's root shows as "/..".
    let below = Path::new(path)
        .strip_prefix(&mount.root)
        .ok()
        .filter(|below| !below.components().any(|part| part == Component::ParentDir))
        .unwrap_or(Path::new(""));
    let read = if v2 { read_v2 } else { read_v1 };
    top.join(below)
        .ancestors()
        .take_while(|directory| directory.starts_with(&top))
        .filter_map(read)
        .min()
}

/// cgroup v2: `cpu.max` is "QUOTA PERIOD" or "max PERIOD".
fn read_v2(directory: &Path) -> Option<usize> {
    let text = fs::read_to_string(directory.join("cpu.max")).ok()?;
    let mut words = text.split_ascii_whitespace();
    processors(words.next()?.parse().ok()?, words.next()?.parse().ok()?)
}

/// cgroup v1: two files, of which the quota is -1 for none.
fn read_v1(directory: &Path) -> Option<usize> {
    let number = |name: &str| {
        let text = fs::read_to_string(directory.join(name)).ok()?;
        text.trim().parse().ok()
    };
    processors(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
}

/// Time per time is processors; a part counts as a whole one.
fn processors(quota_us: u64, period_us: u64) -> Option<usize> {
    if period_us == 0 {
        return None;
    }
    usize::try_from(quota_us.div_ceil(period_us).max(1)).ok()
}

/// A mounted cgroup hierarchy that can limit processor time.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    v2: bool,
    /// Which directory of the hierarchy is mounted.
    root: PathBuf,
    /// Where.
    at: PathBuf,
}

impl Mount {
    /// proc_pid_mountinfo(5): "ID PARENT DEV ROOT POINT OPTIONS [FIELDS...] - TYPE SOURCE SUPER-OPTIONS".
    fn parse(line: &str) -> Option<Self> {
        let (mount, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let v2 = match kind.next()? {
            "cgroup2" => true,
            "cgroup" if kind.nth(1)?.split(',').any(|option| option == "cpu") => false,
            _ => return None,
        };
        let mut mount = mount.split(' ').skip(3);
        Some(Self {
            v2,
            root: mount.next()?.into(),
            at: mount.next()?.into(),
        })
    }
}

/// The limit of open files, before and after [`raise_open_files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFiles {
    /// Soft and hard limit as we were started: what the workers get back.
    pub original: (u64, u64),
    /// How many this process may have open now.
    pub now: u64,
}

/// Raises the soft limit of open files to the hard one: hand-offs in flight count against it (KF9), and so
/// does every connection that is held.
///
/// # Errors
/// Those of getrlimit(2). A limit that cannot be raised stays as it is.
pub fn raise_open_files() -> io::Result<OpenFiles> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Ok(OpenFiles {
        original: (soft, hard),
        now: if raised { hard } else { soft },
    })
}

/// How many files this process may have open now, the soft limit.
///
/// # Errors
/// Those of getrlimit(2).
pub fn open_files() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_MOUNT: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    /// A root directory with these files in it.
    struct Root(PathBuf);

    impl Root {
        fn with(name: &str, files: &[(&str, &str)]) -> Self {
            let directory = format!("forkfront-limits-{}-{name}", std::process::id());
            let root = std::env::temp_dir().join(directory);
            for (path, text) in files {
                let file = root.join(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_v2_quota_is_the_least_on_the_way_up_rounded_up() {
        let root = Root::with(
            "v2",
            &[
                ("proc/self/cgroup", "0::/app.slice/web.service\n"),
                ("proc/self/mountinfo", V2_MOUNT),
                ("sys/fs/cgroup/app.slice/cpu.max", "250000 100000\n"),
                (
                    "sys/fs/cgroup/app.slice/web.service/cpu.max",
                    "max 100000\n",
                ),
            ],
        );
        assert_eq!(quota(&root.0), Some(3));
        let service = root.0.join("sys/fs/cgroup/app.slice/web.service/cpu.max");
        fs::write(&service, "50000 100000\n").unwrap();
        assert_eq!(quota(&root.0), Some(1));
        fs::write(&service, "not a number\n").unwrap();
        assert_eq!(quota(&root.0), Some(3));
    }

    #[test]
    fn a_v1_quota_is_found_in_a_container_without_a_namespace() {
        let root = Root::with(
            "v1",
            &[
                (
                    "proc/self/cgroup",
                    "5:memory:/docker/f00\n4:cpu,cpuacct:/docker/f00\n1:name=systemd:/docker/f00\n0::/\n",
                ),
                (
                    "proc/self/mountinfo",
                    "40 31 0:30 /docker/f00 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n",
                ),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400001\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ],
        );
        assert_eq!(quota(&root.0), Some(5));
        let file = root.0.join("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us");
        fs::write(&file, "-1\n").unwrap();
        assert_eq!(quota(&root.0), None);
    }

    #[test]
    fn a_path_above_the_namespace_looks_at_the_mount_itself() {
        let root = Root::with(
            "above",
            &[
                ("proc/self/cgroup", "0::/../other\n"),
                ("proc/self/mountinfo", V2_MOUNT),
                ("sys/fs/cgroup/cpu.max", "100000 100000\n"),
                ("sys/fs/other/cpu.max", "900000 100000\n"),
            ],
        );
        assert_eq!(quota(&root.0), Some(1));
    }

    #[test]
    fn no_cgroup_is_no_quota() {
        assert_eq!(quota(Path::new("/nonexistent")), None);
        assert!(cpus() >= 1);
        assert_eq!(processors(1, 0), None);
    }

    #[test]
    fn the_limit_of_open_files_never_falls() {
        let files = raise_open_files().unwrap();
        assert!(files.now >= files.original.0);
        assert_eq!(raise_open_files().unwrap().now, files.now);
        assert_eq!(open_files().unwrap(), files.now);
    }
}
