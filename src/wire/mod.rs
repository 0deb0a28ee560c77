//! The bytes that cross a process boundary: the hand-off record that travels with each connection, and
//! the requests and answers of the rendezvous by which a worker joins.
//!
//! Shared with the preload shim, which includes this very file: `core` only, no allocation, every decoder
//! total. Little-endian, fixed offsets, versioned. Nothing here touches a file descriptor; that is
//! [`crate::sys::fdpass`] on this side and the shim's raw calls on the other.

/// Version of everything in this file. A worker and a primary of different versions refuse each other.
pub const PROTOCOL: u16 = 2;

/// Environment: path of the rendezvous socket. Its presence is what wakes the shim up.
pub const ENV_RENDEZVOUS: &str = "FORKFRONT_RENDEZVOUS";
/// Environment: the worker's id, decimal.
pub const ENV_WORKER: &str = "FORKFRONT_WORKER";
/// Environment: pid of the primary, decimal. A channel is known by `SO_PEERCRED` naming this pid.
pub const ENV_PRIMARY: &str = "FORKFRONT_PRIMARY";

mod address;
mod record;
mod rendezvous;

pub use address::{Address, Family};
pub use record::{Belongs, Kind, Record};
pub use rendezvous::{Answer, MAX_OPTIONS, Outcome, Request, SocketOption, Verb};

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64: bytes that repeat from a seed.
    fn bytes(seed: &mut u64, length: usize) -> Vec<u8> {
        let byte = || {
            *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let x = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (x ^ (x >> 27)) as u8
        };
        std::iter::repeat_with(byte).take(length).collect()
    }

    #[test]
    fn what_is_encoded_is_decoded_the_same() {
        let mut seed = 1;
        for _ in 0..1000 {
            let mut raw = [0; Address::LEN];
            raw.copy_from_slice(&bytes(&mut seed, Address::LEN));
            raw[0] = [0, 4, 6][usize::from(raw[0]) % 3];
            raw[1] = 0;
            let address = Address::decode(&raw);
            let record = Record {
                nonblocking: raw[5] & 1 != 0,
                proxied: raw[5] & 2 != 0,
                belongs: match raw[5] >> 2 & 3 {
                    0 => Belongs::Address,
                    1 => Belongs::Nothing,
                    2 => Belongs::Key(u64::MAX - u64::from(raw[6])),
                    _ => Belongs::Slot(raw[7].into()),
                },
                attempt: u16::from(raw[6]),
                connection: u64::MAX - u64::from(raw[7]),
                accepted_at: u64::from(raw[8]) << 40,
                peer: address,
                local: Address::decode(&raw),
                ..Record::control(Kind::Connection, u16::from(raw[9]))
            };
            assert_eq!(Record::decode(&record.encode()), Some(record));
            let request = Request {
                verb: Verb::Listen,
                v6only: raw[5] & 2 != 0,
                reuse_port: raw[5] & 4 != 0,
                native: raw[5] & 8 != 0,
                nonblocking: raw[5] & 16 != 0,
                worker: 77,
                number: -i32::from(raw[9]),
                address,
                inode: u64::MAX,
            };
            assert_eq!(Request::decode(&request.encode()), Some(request));
            let answer = Answer {
                listener: 3,
                channel: 4,
                listening: true,
                asked: address,
                ..Answer::errno(98)
            };
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    #[test]
    fn decoders_are_total() {
        let mut seed = 2;
        for round in 0..20_000 {
            let mut raw = bytes(&mut seed, round % 200);
            // Half of them get past the version check.
            if let Some(version) = raw.first_mut().filter(|_| round % 2 == 0) {
                *version = PROTOCOL as u8;
            }
            let _ = (Record::decode(&raw), Request::decode(&raw));
            let _ = (Answer::decode(&raw), SocketOption::decode(&raw));
        }
    }

    #[test]
    fn another_version_or_length_is_refused() {
        let mut record = Record::control(Kind::Wake, 0).encode();
        assert!(Record::decode(&record[1..]).is_none());
        record[0] += 1;
        assert!(Record::decode(&record).is_none());
        assert!(Answer::decode(&[0; Answer::LEN]).is_none());
    }
}
