//! Under a service manager: what systemd is told, and when; the watchdog; the units of scripts/, under a real systemd
//! too, where one can be booted.

#[path = "../common/mod.rs"]
mod common;

mod booted;
mod manager;
mod told;
mod unit;
mod watchdog;
