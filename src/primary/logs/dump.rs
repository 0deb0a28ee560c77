//! The [`Ring`] as bytes, for the next image: what is where as JSON, with its length in front, then the chunks.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::ring::{Chunk, Ring, Strand, Whose};

/// How lines are laid out in a chunk. One that another version lays out otherwise is left behind.
const LAYOUT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Contents {
    layout: u32,
    next: u64,
    strands: Vec<Contained>,
}

#[derive(Serialize, Deserialize)]
struct Contained {
    /// `None`: the primary's own.
    slot: Option<(String, u16)>,
    /// Of each chunk the number of its last line, and its length.
    chunks: Vec<(u64, usize)>,
}

pub fn write(strands: &[Strand], next: u64) -> Vec<u8> {
    let contained = |strand: &Strand| Contained {
        slot: match &strand.whose {
            Whose::Primary => None,
            Whose::Slot(app, slot) => Some((app.to_string(), *slot)),
        },
        chunks: strand
            .chunks
            .iter()
            .map(|chunk| (chunk.last, chunk.bytes.len()))
            .collect(),
    };
    let contents = Contents {
        layout: LAYOUT,
        next,
        strands: strands.iter().map(contained).collect(),
    };
    let contents = serde_json::to_vec(&contents).unwrap_or_default();
    let mut out = (contents.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(&contents);
    for chunk in strands.iter().flat_map(|strand| &strand.chunks) {
        out.extend_from_slice(&chunk.bytes);
    }
    out
}

/// The ring that was written, or an empty one if it cannot be understood: old lines are worth no refusal.
pub fn read(bytes: &[u8], budget: usize) -> Ring {
    try_to_read(bytes, budget).unwrap_or_else(|| Ring::new(budget))
}

fn try_to_read(bytes: &[u8], budget: usize) -> Option<Ring> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (contents, mut rest) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
    let contents: Contents = serde_json::from_slice(contents).ok()?;
    if contents.layout != LAYOUT {
        return None;
    }
    let mut strands = Vec::new();
    for Contained { slot, chunks } in contents.strands {
        let whose = match slot {
            None => Whose::Primary,
            Some((app, slot)) => Whose::Slot(app.into(), slot),
        };
        let mut kept = VecDeque::new();
        for (last, length) in chunks {
            let (bytes, behind) = rest.split_at_checked(length)?;
            rest = behind;
            kept.push_back(Chunk {
                last,
                bytes: bytes.to_vec(),
            });
        }
        strands.push((whose, kept));
    }
    Some(Ring::restored(budget, strands, contents.next))
}
