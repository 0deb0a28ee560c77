//! Compiles the preload shim, `src/shim/lib.rs`, into `$OUT_DIR/libforkfront_shim.so`, which the binary
//! embeds (`src/shim_image.rs`). Run by cargo; it is the package's build script.
//!
//! The shim is a crate of its own because a library that is both rlib and cdylib would interpose the
//! primary itself, and is compiled by a plain `rustc` because a nested cargo deadlocks on the target lock.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where the shim's own sources are.
const SOURCES: &str = "src/shim";
/// Files of the main crate that the shim includes.
const SHARED: [&str; 2] = ["src/wire", "src/scoreboard.rs"];

fn main() -> ExitCode {
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("the preload shim could not be built: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<(), String> {
    for path in SHARED {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-changed={SOURCES}");
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let target = variable("TARGET")?;
    let rustc = variable("RUSTC")?;
    let image = Path::new(&variable("OUT_DIR")?).join("libforkfront_shim.so");

    let mut command = Command::new(&rustc);
    command
        .current_dir(&root)
        .arg(format!("{SOURCES}/lib.rs"))
        .args(["--crate-name", "forkfront_shim", "--crate-type", "cdylib"])
        .args(["--edition", "2024", "--target", &target])
        .args(["-C", "panic=abort", "-C", "opt-level=3"])
        .args(["-C", "codegen-units=1", "-C", "debuginfo=0"])
        // The C library is the host program's, whichever that is: nothing is linked, so nothing is
        // NEEDED and no symbol carries a version.
        .args(["-C", "link-arg=-nostdlib", "-C", "link-arg=-nostartfiles"])
        .args(["-C", "link-arg=-Wl,-z,now", "-C", "strip=symbols"])
        // A thread cancelled in accept() is unwound through our frame.
        .args(["-C", "force-unwind-tables=yes"])
        .args(["--cap-lints", "warn"])
        .arg("-o")
        .arg(&image);
    if target.contains("musl") {
        command.args(["-C", "target-feature=-crt-static"]);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        command.arg("-C").arg(option);
    }
    let status = command
        .status()
        .map_err(|error| format!("cannot run {rustc}: {error}"))?;
    if !status.success() {
        return Err(format!("{rustc} for {target} ended with {status}"));
    }
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set; this script is run by cargo"))
}
