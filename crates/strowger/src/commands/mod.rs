//! The sub-commands, one file each.

mod cdr;
mod cdr_text;
mod check;
mod demo;
mod explain;
mod explain_text;
mod healthz;
mod serve;
mod upgrade;

use std::fmt;
use std::process::ExitCode;

use clap::Subcommand;

/// What the user asked for.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the switch
    Serve(serve::Options),
    /// Show one call from an empty switch to its record, in under ten seconds
    Demo(demo::Options),
    /// Explain where a call would go and why, without placing it
    Explain(explain::Options),
    /// Call records
    #[command(subcommand)]
    Cdr(cdr::Action),
    /// Read a configuration file and say what is wrong with it
    Check(check::Options),
    /// Ask a running switch whether it is ready; exits 0 when it is
    Healthz(healthz::Options),
    /// Let another binary take over from a running switch, calls included
    Upgrade(upgrade::Options),
}

impl Command {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// One sentence for the user; the process then ends with status 1.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Serve(options) => serve::run(&options),
            Self::Demo(options) => demo::run(&options),
            Self::Explain(options) => explain::run(&options),
            Self::Cdr(action) => cdr::run(&action),
            Self::Check(options) => check::run(&options),
            Self::Healthz(options) => healthz::run(&options),
            Self::Upgrade(options) => upgrade::run(&options),
        }
    }
}

/// Why a command ended badly: one sentence that says what to do, where that is known.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A failure with this sentence, which is made to begin and end like one.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        let mut symbols = sentence.chars();
        let first = symbols.next().map(char::to_uppercase).into_iter().flatten();
        // A name at the beginning, of a flag or a path, is not a word to be capitalised.
        let mut text: String = match sentence.split(' ').next() {
            Some(word) if word.contains(['/', '.', '-', '_', ':']) => sentence.clone(),
            _ => first.chain(symbols).collect(),
        };
        if !text.ends_with(['.', '?', '!']) {
            text.push('.');
        }
        Self(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}
