//! One frame of text, where stdout is no terminal; and colours.

use super::*;

#[test]
fn a_frame_of_text_is_printed_to_what_is_no_terminal() {
    let site = Site::new();
    let balancer = Balancer::nodes(&site, 2, &[]);
    let pids = balancer.workers();
    for words in [
        &["top", "--interval", "100ms"][..],
        &["top", "--interval", "100ms", "--once"],
    ] {
        let text = balancer.command(words).done().stdout;
        for part in [
            "2 of 2 workers ready",
            "conn/s",
            &pids[0].to_string(),
            &pids[1].to_string(),
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(!text.contains('\x1b'), "{text:?}");
    }
    let words = ["top", "--interval", "0"];
    balancer.command(&words).failed(2, &["100ms at least"]);
    balancer.finish();
}

#[test]
fn colours_are_as_the_environment_wishes() {
    for (key, value, coloured) in [("A", "b", true), ("NO_COLOR", "1", false)] {
        let site = Site::new().env(key, value);
        let balancer = Balancer::nodes(&site, 1, &[]);
        let mut screen = top(&balancer, 80, 24);
        screen.shows(&["1 of 1 workers ready", "q quit"]);
        let bytes = screen.bytes();
        assert_eq!(bytes.contains("\x1b[38;5;"), coloured, "{bytes:?}");
        screen.types("q");
        assert_eq!(screen.ended(), Some(0));
        drop(screen);
        balancer.finish();
    }
}
