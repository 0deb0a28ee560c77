//! Completions: the scripts that shells load, and the answers to what they ask.
//!
//! A script asks this very program at each key, by a variable in its environment, so that it knows each option of
//! the version that is installed, and the slots and primaries of now. The engine is `clap_complete`'s; bash has a
//! script of ours, since bash takes words apart at `:` and `=`.

use std::io;

use clap_complete::CompleteEnv;
use clap_complete::env::{Bash, EnvCompleter, Fish, Shells, Zsh};

use super::groups;
use crate::error::{Error, Result};

mod candidates;

/// In the environment when a shell asks; its value is the shell's name.
const VARIABLE: &str = "FORKFRONT_COMPLETE";
const NAME: &str = "forkfront";

/// How they are installed.
pub const LONG: &str = "\
Print a script by which a shell completes commands, options and values.

It also completes what is running: names of primaries, slots, apps. Written once, it is good for later \
versions, too.";

/// One line for each shell.
pub const EXAMPLES: &str = "\
Examples:
  forkfront completions bash > ~/.local/share/bash-completion/completions/forkfront
  forkfront completions zsh > ~/.zfunc/_forkfront
  forkfront completions fish > ~/.config/fish/completions/forkfront.fish

Make the directory first where there is none (mkdir -p). Shells that are started then know it.

  bash  needs the package bash-completion. Or say in ~/.bashrc:
        source <(forkfront completions bash)
  zsh   needs in ~/.zshrc, before compinit: fpath+=~/.zfunc

For all users:
  forkfront completions bash > /usr/share/bash-completion/completions/forkfront
  forkfront completions zsh > /usr/share/zsh/site-functions/_forkfront
  forkfront completions fish > /usr/share/fish/vendor_completions.d/forkfront.fish";

/// A shell that we have a script for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// Version 4 or later.
    Bash,
    /// With compinit.
    Zsh,
    /// Version 3 or later.
    Fish,
}

/// The script for a shell.
///
/// # Errors
/// None that could happen: the script is written to memory.
pub fn script(shell: Shell) -> Result<String> {
    let of: &dyn EnvCompleter = match shell {
        Shell::Bash => &OurBash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    of.write_registration(VARIABLE, NAME, NAME, NAME, &mut script)
        .map_err(|error| Error::io("cannot write the script", &error))?;
    let mut script = String::from_utf8_lossy(&script).trim_end().to_owned();
    if shell == Shell::Zsh {
        script.push_str(ZSH_FIRST_TIME);
    }
    Ok(script)
}

/// zsh loads the file at the first key that asks for it, and takes what it does as the answer to that.
const ZSH_FIRST_TIME: &str = r#"
if [[ ${funcstack[1]-} == _forkfront ]]; then
    _clap_dynamic_completer_forkfront "$@"
fi"#;

/// Whether a shell asks.
pub fn is_asked() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|shell| !shell.is_empty() && shell != "0")
}

/// Answers the shell that asks, on stdout.
///
/// # Errors
/// A shell that we do not know.
pub fn answer() -> Result<()> {
    let command = || candidates::attach(groups::command());
    let here = std::env::current_dir().ok();
    CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .bin(NAME)
        .completer(NAME)
        .shells(Shells(&[&OurBash, &Zsh, &Fish]))
        .try_complete(std::env::args_os(), here.as_deref())
        .map(|_| ())
        .map_err(|error| Error::usage(format!("{VARIABLE}: {}", error.to_string().trim())))
}

/// The script for bash; what it asks is answered as clap has it.
struct OurBash;

impl EnvCompleter for OurBash {
    fn name(&self) -> &'static str {
        Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        Bash.is(name)
    }

    fn write_registration(
        &self,
        _var: &str,
        _name: &str,
        _bin: &str,
        _completer: &str,
        to: &mut dyn io::Write,
    ) -> io::Result<()> {
        to.write_all(include_bytes!("completions/forkfront.bash"))
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        words: Vec<std::ffi::OsString>,
        here: Option<&std::path::Path>,
        to: &mut dyn io::Write,
    ) -> io::Result<()> {
        Bash.write_complete(command, words, here, to)
    }
}
