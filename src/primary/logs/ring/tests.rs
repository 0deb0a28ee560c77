//! What is kept of what was printed, and what gives way.

use super::*;
use crate::primary::logs::dump;

fn line(text: &str) -> Entry<'_> {
    Entry {
        number: 0,
        time: 0,
        pid: 7,
        kind: Kind::Worker(Stream::Stdout),
        cut: false,
        text: text.as_bytes(),
    }
}

fn slot(number: u16) -> Whose {
    Whose::Slot("web".into(), number)
}

fn push(ring: &mut Ring, whose: &Whose, entry: Entry<'_>) {
    let strand = ring.strand(whose);
    ring.push(strand, entry, &mut |_, _| {});
}

fn texts(ring: &Ring, wanted: impl Fn(&Whose) -> bool, from: u64) -> Vec<String> {
    let strands = ring.strands(wanted);
    let lines = ring.read(&strands, from);
    lines
        .map(|(_, entry)| String::from_utf8_lossy(entry.text).into_owned())
        .collect()
}

fn all(_: &Whose) -> bool {
    true
}

#[test]
fn lines_are_read_in_the_order_in_which_they_came() {
    let mut ring = Ring::new(1 << 20);
    let expected: Vec<String> = (0..10_000).map(|n| format!("line {n}")).collect();
    for (n, text) in expected.iter().enumerate() {
        push(&mut ring, &slot((n * n % 7) as u16), line(text));
    }
    assert_eq!(texts(&ring, all, 0), expected);
    assert_eq!(texts(&ring, all, 9_000), expected[9_000..]);
    assert_eq!(texts(&ring, all, ring.next()), [""; 0]);
    let of_two = texts(&ring, |whose| *whose == slot(2), 0);
    let own = (0..10_000).filter(|n| n * n % 7 == 2);
    assert!(of_two.iter().eq(own.map(|n| &expected[n])));
}

#[test]
fn everything_of_a_line_is_kept() {
    let mut ring = Ring::new(1 << 20);
    let kinds = Level::iter().map(Kind::Own);
    let streams = [Stream::Stdout, Stream::Stderr].map(Kind::Worker);
    let entries: Vec<Entry<'_>> = kinds
        .chain(streams)
        .zip(0..)
        .map(|(kind, number)| Entry {
            number,
            time: -5 + number as i64,
            pid: u32::MAX,
            kind,
            cut: number % 2 == 0,
            text: b"\x00\xff",
        })
        .collect();
    for entry in &entries {
        push(&mut ring, &Whose::Primary, *entry);
    }
    let copy = dump::read(&ring.dump(), 1 << 20);
    for ring in [&ring, &copy] {
        let read: Vec<_> = ring.read(&[0], 0).map(|(_, entry)| entry).collect();
        assert_eq!(read, entries);
    }
}

#[test]
fn it_is_bounded_and_the_longest_strand_gives_way() {
    let mut ring = Ring::new(256 * 1024);
    push(&mut ring, &Whose::Primary, line("what was said first"));
    for n in 0..200 {
        push(&mut ring, &slot(1), line(&format!("seldom {n}")));
    }
    let (strand, mut lost) = (ring.strand(&slot(0)), 0);
    let text = "x".repeat(100);
    for _ in 0..100_000 {
        ring.push(strand, line(&text), &mut |of, chunk| {
            assert_eq!(of, strand);
            lost += chunk.entries().count();
        });
        assert!(ring.bytes <= 256 * 1024);
    }
    assert_eq!(texts(&ring, |whose| *whose == slot(1), 0).len(), 200);
    assert_eq!(texts(&ring, |whose| *whose == Whose::Primary, 0).len(), 1);
    let kept = texts(&ring, |whose| *whose == slot(0), 0).len();
    assert_eq!(kept + lost, 100_000);
    assert!(kept > 1000, "{kept}");
}

#[test]
fn a_thousand_slots_share_it() {
    let mut ring = Ring::new(4 * 1024 * 1024);
    let strands: Vec<usize> = (0..1000).map(|number| ring.strand(&slot(number))).collect();
    for round in 0..60 {
        let text = format!("{round} {}", "y".repeat(80));
        for strand in &strands {
            ring.push(*strand, line(&text), &mut |_, _| {});
        }
    }
    for number in (0..1000).step_by(7) {
        let kept = texts(&ring, |whose| *whose == slot(number), 0);
        assert!(kept.len() > 10, "slot {number} has {}", kept.len());
        assert!(kept.last().unwrap().starts_with("59 "));
    }
}

#[test]
fn one_line_may_be_longer_than_a_chunk() {
    let mut ring = Ring::new(256 * 1024);
    let long = "z".repeat(65_536);
    for _ in 0..20 {
        push(&mut ring, &slot(0), line(&long));
        push(&mut ring, &slot(0), line("short"));
    }
    let kept = texts(&ring, all, 0);
    assert!(kept.len() >= 4, "{}", kept.len());
    assert_eq!(kept[kept.len() - 2..], [long, "short".to_owned()]);
}

#[test]
fn where_to_begin() {
    let mut ring = Ring::new(1 << 20);
    for n in 0..100 {
        let text = n.to_string();
        let entry = Entry {
            time: n * 10,
            ..line(&text)
        };
        push(&mut ring, &slot((n % 3) as u16), entry);
    }
    let strands = ring.strands(all);
    assert_eq!(ring.start(&strands, None, None), 0);
    assert_eq!(ring.start(&strands, None, Some(10)), 90);
    assert_eq!(ring.start(&strands, None, Some(1000)), 0);
    assert_eq!(ring.start(&strands, None, Some(0)), 100);
    assert_eq!(ring.start(&strands, Some(495), None), 50);
    assert_eq!(ring.start(&strands, Some(495), Some(10)), 90);
    assert_eq!(ring.start(&strands, Some(10_000), Some(10)), 100);
    let one = ring.strands(|whose| *whose == slot(1));
    assert_eq!(ring.start(&one, None, Some(2)), 94);
}

#[test]
fn another_image_goes_on_with_it_or_begins_anew() {
    let mut ring = Ring::new(1 << 20);
    for n in 0..5000 {
        push(&mut ring, &slot(n % 5), line(&n.to_string()));
    }
    let dumped = ring.dump();
    let mut next = dump::read(&dumped, 1 << 20);
    push(&mut next, &slot(1), line("after"));
    let mut expected = texts(&ring, all, 0);
    expected.push("after".to_owned());
    assert_eq!(texts(&next, all, 0), expected);
    // One with less room keeps what fits.
    let less = dump::read(&dumped, 64 * 1024);
    assert!(less.bytes <= 64 * 1024 && less.next() == 5000);
    for damaged in [
        &b""[..],
        b"12345678",
        &dumped[..100],
        &dumped[..dumped.len() - 1],
    ] {
        assert!(texts(&dump::read(damaged, 1 << 20), all, 0).is_empty());
    }
}
