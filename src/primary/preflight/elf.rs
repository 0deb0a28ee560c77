//! The few facts of an ELF file that decide whether a library can be preloaded into it (elf(5)).
//!
//! Total: every offset and count comes from the file and is taken as hostile; what does not fit is "not there".

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The machine this program was built for.
pub const OUR_MACHINE: &str = std::env::consts::ARCH;

const CLASS_64: u8 = 2;
const PT_INTERP: u32 = 3;
/// Bytes up to and including `e_machine`: they say class, byte order, system and machine.
const IDENT: usize = 20;
/// A path, with its NUL.
const LONGEST_LOADER: usize = 4096;
/// Largest table that is looked through; sections are some dozens of 64 bytes.
const LARGEST_TABLE: usize = 1 << 20;

/// What an ELF file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elf {
    /// The dynamic loader it asks for. None: it is linked statically.
    pub loader: Option<PathBuf>,
    /// Linked by the Go toolchain.
    pub go: bool,
    /// The machine it is for, if that is not ours; nothing else is known then.
    pub foreign: Option<&'static str>,
}

/// Bytes at an offset.
pub trait Bytes {
    /// Exactly `length` bytes from `at`, if there are so many.
    fn get(&self, at: u64, length: usize) -> Option<Vec<u8>>;
}

impl Bytes for File {
    fn get(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }
}

impl Bytes for [u8] {
    fn get(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        let at = usize::try_from(at).ok()?;
        Some(self.get(at..at.checked_add(length)?)?.to_vec())
    }
}

/// Reads `file`; `None` if it is no ELF file.
pub fn read<B: Bytes + ?Sized>(file: &B) -> Option<Elf> {
    let ident = file.get(0, IDENT)?;
    if !ident.starts_with(b"\x7fELF") {
        return None;
    }
    if !is_ours(&ident) {
        return Some(Elf {
            foreign: Some(machine(&ident)),
            ..Elf::default()
        });
    }
    let layout = if ident[4] == CLASS_64 {
        &LAYOUT_64
    } else {
        &LAYOUT_32
    };
    Some(Elf {
        loader: loader(file, layout),
        go: has_section(file, layout, b".go.buildinfo").unwrap_or(false),
        foreign: None,
    })
}

/// Class, byte order and machine as of this very program. The ABI byte may differ and mean nothing.
fn is_ours(ident: &[u8]) -> bool {
    let Some(ours) = File::open("/proc/self/exe")
        .ok()
        .and_then(|exe| Bytes::get(&exe, 0, IDENT))
    else {
        return true;
    };
    ident[4..6] == ours[4..6] && ident[18..20] == ours[18..20]
}

fn machine(ident: &[u8]) -> &'static str {
    let number = [ident[18], ident[19]];
    let big_endian = ident[5] == 2;
    let number = if big_endian {
        u16::from_be_bytes(number)
    } else {
        u16::from_le_bytes(number)
    };
    match (number, ident[4]) {
        (3, _) => "32-bit x86",
        (62, CLASS_64) => "x86_64",
        (62, _) => "x32",
        (40, _) => "32-bit ARM",
        (183, _) => "aarch64",
        (8, _) => "MIPS",
        (20 | 21, _) => "PowerPC",
        (22, _) => "S/390",
        (243, _) => "RISC-V",
        (258, _) => "LoongArch",
        _ => "another machine",
    }
}

/// Where the fields are: two classes differ only in that.
struct Layout {
    wide: bool,
    header: usize,
    /// `e_phoff`, `e_shoff`, and `e_phentsize`, which the four counts follow.
    program_table: usize,
    section_table: usize,
    counts: usize,
    program_entry: usize,
    /// `p_offset`, `p_filesz`.
    segment: (usize, usize),
    section_entry: usize,
    /// `sh_offset`, `sh_size`.
    section: (usize, usize),
}

const LAYOUT_64: Layout = Layout {
    wide: true,
    header: 64,
    program_table: 32,
    section_table: 40,
    counts: 54,
    program_entry: 56,
    segment: (8, 32),
    section_entry: 64,
    section: (24, 32),
};

const LAYOUT_32: Layout = Layout {
    wide: false,
    header: 52,
    program_table: 28,
    section_table: 32,
    counts: 42,
    program_entry: 32,
    segment: (4, 16),
    section_entry: 40,
    section: (16, 20),
};

impl Layout {
    /// An address-sized field.
    fn word(&self, bytes: &[u8], at: usize) -> Option<u64> {
        if self.wide {
            let field = bytes.get(at..at.checked_add(8)?)?;
            Some(u64::from_ne_bytes(field.try_into().ok()?))
        } else {
            Some(u64::from(long(bytes, at)?))
        }
    }
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(field.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(usize::from(u16::from_ne_bytes(field.try_into().ok()?)))
}

/// A table of `count` entries of `size` bytes, if its entries are as large as they have to be.
fn table<B: Bytes + ?Sized>(
    file: &B,
    at: u64,
    (size, expected): (usize, usize),
    count: usize,
) -> Option<Vec<u8>> {
    let length = size.checked_mul(count)?;
    if size != expected || length > LARGEST_TABLE {
        return None;
    }
    file.get(at, length)
}

fn loader<B: Bytes + ?Sized>(file: &B, layout: &Layout) -> Option<PathBuf> {
    let header = file.get(0, layout.header)?;
    let size = short(&header, layout.counts)?;
    let count = short(&header, layout.counts + 2)?;
    let at = layout.word(&header, layout.program_table)?;
    let segments = table(file, at, (size, layout.program_entry), count)?;
    let interp = segments
        .chunks_exact(layout.program_entry)
        .find(|segment| long(segment, 0) == Some(PT_INTERP))?;
    let length = usize::try_from(layout.word(interp, layout.segment.1)?).ok()?;
    let path = file.get(
        layout.word(interp, layout.segment.0)?,
        length.min(LONGEST_LOADER),
    )?;
    let end = path.iter().position(|&byte| byte == 0)?;
    Some(PathBuf::from(OsStr::from_bytes(&path[..end])))
}

/// Sections are not needed to run and may have been cut off; Go's own `-s -w` leaves them.
fn has_section<B: Bytes + ?Sized>(file: &B, layout: &Layout, wanted: &[u8]) -> Option<bool> {
    let header = file.get(0, layout.header)?;
    let size = short(&header, layout.counts + 4)?;
    let count = short(&header, layout.counts + 6)?;
    let names = short(&header, layout.counts + 8)?;
    let at = layout.word(&header, layout.section_table)?;
    let sections = table(file, at, (size, layout.section_entry), count)?;
    let mut entries = sections.chunks_exact(layout.section_entry);
    let strings = entries.clone().nth(names)?;
    let length = usize::try_from(layout.word(strings, layout.section.1)?).ok()?;
    let strings = file.get(
        layout.word(strings, layout.section.0)?,
        length.min(LARGEST_TABLE),
    )?;
    Some(entries.any(|section| {
        long(section, 0)
            .and_then(|name| strings.get(name as usize..))
            .and_then(|name| name.split(|&byte| byte == 0).next())
            == Some(wanted)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_program() -> Vec<u8> {
        let mut bytes = std::fs::read("/proc/self/exe").unwrap();
        bytes.truncate(1 << 16);
        bytes
    }

    #[test]
    fn this_program_is_dynamic_ours_and_not_go() {
        let elf = read(&File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(elf.loader.is_some_and(|loader| loader.exists()));
        assert!(!elf.go);
        assert_eq!(elf.foreign, None);
    }

    #[test]
    fn another_machine_or_class_is_named() {
        let mut bytes = this_program();
        bytes[18..20].copy_from_slice(&[8, 0]);
        assert_eq!(read(bytes.as_slice()).unwrap().foreign, Some("MIPS"));
        bytes[4..6].copy_from_slice(&[1, 2]);
        bytes[18..20].copy_from_slice(&[0, 22]);
        assert_eq!(read(bytes.as_slice()).unwrap().foreign, Some("S/390"));
    }

    #[test]
    fn damage_is_never_more_than_a_missing_fact() {
        let whole = this_program();
        for length in (0..200).chain([1000, 5000]) {
            let _ = read(&whole[..length.min(whole.len())]);
        }
        // Every byte of the header and of the program table, set to extremes.
        for at in 0..1024.min(whole.len()) {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = read(bytes.as_slice());
            }
        }
        assert_eq!(read(b"#!/bin/sh\n".as_slice()), None);
        assert_eq!(read(b"".as_slice()), None);
    }
}
