//! `forkfront top` at a terminal of its own, in front of a real primary with real workers: what is seen, what keys
//! do, and that the terminal is as before in the end, however it ends.

#[path = "../common/mod.rs"]
mod common;

mod backends;
mod keys;
mod life;
mod screen;
mod text;

use common::*;
use screen::Screen;

/// `top` of this primary at a terminal of so many columns and rows.
#[track_caller]
fn top<'a>(balancer: &Balancer<'a>, columns: u16, rows: u16) -> Screen<'a> {
    let control = balancer.site.control().display().to_string();
    let words = ["top", "--interval", "200ms", "--control", &control];
    Screen::of_forkfront(balancer.site, &words, columns, rows)
}
