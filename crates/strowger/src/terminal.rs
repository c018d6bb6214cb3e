//! Colour and width, only where a person is looking.

use std::io::{IsTerminal, Write};

/// `println!` for commands that talk to people: who closed our output, like `head`, has had enough, and that is no error.
macro_rules! say {
    ($($argument:tt)*) => { $crate::terminal::line(format_args!($($argument)*)) };
}
pub(crate) use say;

/// Writes one line to standard output, if anybody still reads it.
pub(crate) fn line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Wraps text in terminal colours, or leaves it alone when nobody would see them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

/// Makes a method per look. The number is the parameter of the SGR control sequence (ECMA-48 §8.3.117).
macro_rules! looks {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub(crate) fn $name(self, text: &str) -> String {
            if self.on { format!(concat!("\x1b[", $code, "m{}\x1b[0m"), text) } else { text.to_owned() }
        })*
    };
}

impl Paint {
    /// For what goes to standard output.
    pub(crate) fn for_stdout() -> Self {
        Self {
            on: wanted(std::io::stdout().is_terminal()),
        }
    }

    /// For what goes to standard error.
    pub(crate) fn for_stderr() -> Self {
        Self {
            on: wanted(std::io::stderr().is_terminal()),
        }
    }

    /// Never any colour.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { on: false }
    }

    looks! {
        /// For headings and what should be copied.
        bold = "1";
        /// For what may be skipped.
        dim = "2";
        /// For what went well.
        green = "32";
        /// For what is under way.
        yellow = "33";
        /// For requests.
        cyan = "36";
        /// For what was refused.
        red = "31";
        /// For failures.
        bold_red = "1;31";
        /// For names of records.
        magenta = "35";
    }
}

/// `NO_COLOR` wins over everything (no-color.org), then `CLICOLOR_FORCE`, then whether it is a terminal at all.
fn wanted(is_terminal: bool) -> bool {
    let set =
        |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    !set("NO_COLOR") && (is_terminal || set("CLICOLOR_FORCE"))
}
