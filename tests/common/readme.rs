//! The programs of the README, as they stand there.

/// The indented lines of README.md from the one that says `mark` to the end of their block, without the indent.
#[track_caller]
pub fn readme(mark: &str) -> String {
    let text = readme_text();
    let first = format!("    {mark}");
    let block: Vec<&str> = text
        .lines()
        .skip_while(|line| **line != first)
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| line.strip_prefix("    ").unwrap_or_default())
        .collect();
    assert!(!block.is_empty(), "the README has no block with {mark:?}");
    block.join("\n")
}

/// All of README.md.
pub fn readme_text() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    std::fs::read_to_string(path).expect("the README")
}
