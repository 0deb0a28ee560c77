//! Under a service manager: what systemd is told, and when; the watchdog; inherited sockets by name.

#[path = "../common/mod.rs"]
mod common;
mod manager;
mod told;
mod watchdog;
