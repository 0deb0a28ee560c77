//! Sealed memory: a state that is written once, read by the next image and changed by nobody in between; a shim
//! where there is no directory for it.
//!
//! A head (magic, version, length, checksum) stands before the bytes themselves. The version
//! is that of the head; what the bytes mean is theirs to say.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use siphasher::sip::SipHasher13;

const MAGIC: [u8; 8] = *b"forkfrnt";
const VERSION: u32 = 1;
/// Magic, version, length, checksum.
const HEAD: usize = 24;
/// The longest state that is read: a thousand workers and all that can be held come to some megabytes.
const LONGEST: usize = 64 << 20;

/// Writes `bytes` into a fresh memfd, close-on-exec, that nobody can change any more.
///
/// # Errors
/// Those of memfd_create(2), write(2) and fcntl(2) with `F_ADD_SEALS`.
pub fn seal(bytes: &[u8]) -> io::Result<OwnedFd> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "the state is too long");
    let length = u32::try_from(bytes.len()).map_err(too_long)?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(c"forkfront-state", flags)?);
    let mut head = Vec::with_capacity(HEAD);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&checksum(bytes).to_le_bytes());
    file.write_all_at(&head, 0)?;
    file.write_all_at(bytes, HEAD as u64)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals()))?;
    Ok(file.into())
}

/// A file in memory of this name and these bytes, close-on-exec, that can be mapped to run and that nobody can change.
///
/// # Errors
/// As [`seal`].
pub fn executable(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(name, flags)?);
    file.write_all_at(bytes, 0)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals()))?;
    Ok(file.into())
}

/// Reads what [`seal`] has written, and leaves the descriptor as it is, its position too.
///
/// # Errors
/// `InvalidData` with a sentence for anything that is not whole; those of fcntl(2) and pread(2).
pub fn open(memfd: &impl AsFd) -> io::Result<Vec<u8>> {
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()));
    match fcntl(memfd, FcntlArg::F_GET_SEALS) {
        Ok(set) if SealFlag::from_bits_truncate(set).contains(seals()) => {}
        _ => return refuse("the state is not sealed memory"),
    }
    let file = File::from(memfd.as_fd().try_clone_to_owned()?);
    let whole = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if !(HEAD..=LONGEST).contains(&whole) {
        return refuse("the state is cut off or too long");
    }
    let mut bytes = vec![0; whole];
    file.read_exact_at(&mut bytes, 0)?;
    let body = bytes.split_off(HEAD);
    let word = |at: usize| {
        bytes[at..at + 4]
            .iter()
            .rfold(0, |sum, byte| sum << 8 | u32::from(*byte))
    };
    if bytes[..8] != MAGIC {
        return refuse("the state is of another program");
    }
    if word(8) != VERSION {
        return refuse(&format!(
            "the state is in format {}, and this program reads format {VERSION}",
            word(8)
        ));
    }
    if word(12) as usize != body.len() {
        return refuse("the state is cut off");
    }
    if bytes[16..] != checksum(&body).to_le_bytes() {
        return refuse("the state is damaged: its checksum is another");
    }
    Ok(body)
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As [`seal`], of these very bytes.
    fn raw(bytes: &[u8], seals: SealFlag) -> OwnedFd {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"test", flags).unwrap());
        file.write_all_at(bytes, 0).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        file.into()
    }

    fn whole(memfd: OwnedFd) -> Vec<u8> {
        let file = File::from(memfd);
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read_any_number_of_times_and_changed_by_nobody() {
        for bytes in [&b""[..], b"{}", &[7; 100_000]] {
            let memfd = seal(bytes).unwrap();
            assert_eq!(open(&memfd).unwrap(), bytes);
            assert_eq!(open(&memfd).unwrap(), bytes);
            let file = File::from(memfd);
            assert!(file.write_all_at(b"x", 0).is_err());
            assert!(file.set_len(1).is_err());
        }
    }

    #[test]
    fn each_damaged_byte_is_noticed() {
        let good = whole(seal(b"the state of a primary").unwrap());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(open(&raw(&bad, seals())).is_err(), "byte {at}");
            assert!(open(&raw(&good[..at], seals())).is_err(), "cut at {at}");
        }
        assert!(open(&raw(&good, seals())).is_ok());
        let loose = raw(&good, SealFlag::F_SEAL_SHRINK);
        assert!(open(&loose).unwrap_err().to_string().contains("not sealed"));
        let (pipe, _writer) = std::io::pipe().unwrap();
        assert!(open(&pipe).is_err());
    }
}
