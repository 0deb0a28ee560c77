//! What is set, why slots are not ready, and what was lost.

use super::*;

#[test]
fn what_is_set_is_told_as_the_options_are_called() {
    let mut status = status();
    status.apps[0].sticky_down = Some(StickyDown::Hold);
    status.apps[0].sticky_bound = Some(1.25);
    status.apps[0].proxy_protocol = true;
    status.apps[0].header_complete = true;
    let said = ", sticky ip/24,56, sticky-down hold, sticky-bound 1.25, proxy-protocol, header-complete, STOPPING";
    let text = table(&status);
    fits(&text);
    assert!(unbroken(&text).contains(said), "{text}");
}

#[test]
fn evenness_is_told_of_what_it_is_about() {
    let mut status = status();
    status.keys = Some(Keys {
        balanced: 1,
        ..Keys::default()
    });
    status.evenness = Some(1.068);
    status.apps[0].evenness_of = 4512;
    let text = table(&status);
    let said = "busiest slot: 1.07 of its share of 4512 since slots last came or went";
    assert!(text.contains(said), "{text}");
}

#[test]
fn slots_with_the_same_reason_have_one_sentence() {
    let mut status = status();
    let failed = |number| {
        let why = (number % 2 == 1).then_some("exit code 78");
        slot("app", number, SlotState::Failed, why)
    };
    status.slots = [2, 4, 5, 7, 8, 9].map(failed).into();
    status.slots.push(slot("app", 10, SlotState::Drained, None));
    let text = table(&status);
    for part in [
        "\nslots 2, 4, 8: has ended\n",
        "\nslots 5, 7, 9: exit code 78\n",
        "\nslot 10: drained; forkfront resume deals to it again\n",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    fits(&text);
}

#[test]
fn many_slots_and_many_reasons_fit() {
    let mut status = status();
    let slots = (0..256).map(|number| {
        let why = format!("exit code {}", number / 2);
        slot("app", number, SlotState::Waiting, Some(&why))
    });
    status.slots = slots.collect();
    let text = table(&status);
    fits(&text);
    let said = "232 more slots are not ready, for 116 more reasons: --json has them";
    assert!(text.contains(said), "{text}");
    for slot in &mut status.slots {
        slot.why = Some("has not bound a TCP port yet".into());
    }
    let text = table(&status);
    assert!(text.contains("\nslots 0-255: has not bound"), "{text}");
}

#[test]
fn a_long_address_has_a_line_of_its_own() {
    let mut status = status();
    let path = format!("unix:/run/{}/app.sock", "x".repeat(90));
    status.listeners = vec![listener("app", &path), listener("app", "[::]:80")];
    status.listeners[0].app_port = None;
    let text = table(&status);
    fits(&text);
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("unix:"))
        .collect();
    assert!(lines[0].ends_with("x/app.sock"), "{text}");
    assert!(
        lines[1].starts_with("          ") && lines[1].ends_with(" -"),
        "{text}"
    );
    assert!(lines[2].starts_with("[::]:80 (server: 8080) "), "{text}");
}

#[test]
fn what_was_lost_is_told() {
    let mut status = status();
    assert!(!table(&status).contains("lines of output"));
    status.lines_dropped = 7;
    let text = table(&status);
    assert!(
        text.contains("lines of output dropped, since nobody read them in time: 7"),
        "{text}"
    );
}
