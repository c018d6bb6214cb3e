//! One process takes over from another: the words between the two.
//!
//! The old process starts the new one with a Unix socket as its standard input. The new one reads its settings and says
//! [`PREPARED`], and until then nothing has happened to anybody. Then the old one ends its threads, so that the journal is
//! complete, closes the database and sends all its sockets, with what waits in them. The new one starts as after a crash,
//! but with those sockets, and says [`READY`]; the old one answers [`GO`] and ends. A new process that does not come that far
//! is replaced by another of the old binary, with the same sockets.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sockets::DESCRIPTORS_PER_MESSAGE;

use crate::commands::Failure;

/// The flag of `strowger serve` that says: your standard input is your predecessor.
pub(crate) const FLAG: &str = "--succeed";

/// The settings are good; hand over.
const PREPARED: u8 = b'p';
/// Sockets come with this.
const SOCKETS: u8 = b's';
/// That was all.
const ALL: u8 = b'a';
/// Calls are taken.
const READY: u8 = b'r';
/// You are the one now.
const GO: u8 = b'g';

/// How long a process may take to read its settings.
const PREPARE: Duration = Duration::from_secs(20);
/// How long it may take until calls are taken. A large database, or one to be migrated, takes its time.
const START: Duration = Duration::from_secs(60);
/// How long the old process may take to end its threads.
const HAND_OVER: Duration = Duration::from_secs(60);

/// The process that comes after this one.
pub(crate) struct Successor {
    child: Child,
    channel: UnixStream,
}

impl Successor {
    /// Starts `binary` with our own arguments and waits until it says that it could go on from here.
    ///
    /// # Errors
    /// It cannot be started, or refuses its settings; it is gone then.
    pub(crate) fn prepare(binary: &Path) -> Result<Self, Failure> {
        let (channel, theirs) = UnixStream::pair()?;
        let arguments = std::env::args_os().skip(1);
        let child = Command::new(binary)
            .args(arguments.filter(|argument| argument != OsStr::new(FLAG)))
            .arg(FLAG)
            // Meant for this process, not for its child.
            .env_remove("WATCHDOG_PID")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(|error| {
                Failure::new(format!("{} cannot be started: {error}", binary.display()))
            })?;
        let mut successor = Self { child, channel };
        match successor.hear(PREPARED, PREPARE) {
            Ok(()) => Ok(successor),
            Err(error) => {
                let ended = successor.end();
                Err(Failure::new(format!(
                    "{} does not start with our settings ({error}; {ended}); its own words are in the log",
                    binary.display()
                )))
            }
        }
    }

    /// Its process number.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Gives it the sockets and waits until it takes calls.
    ///
    /// # Errors
    /// It does not; it is gone then, and the sockets are still ours.
    pub(crate) fn hand_over(&mut self, sockets: &[OwnedFd]) -> Result<(), Failure> {
        let given = self.give(sockets).and_then(|()| self.hear(READY, START));
        given.map_err(|error| {
            let ended = self.end();
            Failure::new(format!(
                "the new process does not take over ({error}; {ended})"
            ))
        })
    }

    /// Tells it that we are going.
    pub(crate) fn go(mut self) {
        // It goes on without this word too.
        let _ = self.channel.write_all(&[GO]);
    }

    fn give(&mut self, sockets: &[OwnedFd]) -> io::Result<()> {
        for some in sockets.chunks(DESCRIPTORS_PER_MESSAGE) {
            let some: Vec<_> = some.iter().map(AsFd::as_fd).collect();
            sockets::send_descriptors(&self.channel, &[SOCKETS], &some)?;
        }
        self.channel.write_all(&[ALL])
    }

    fn hear(&mut self, word: u8, patience: Duration) -> io::Result<()> {
        hear(&mut self.channel, word, patience)
    }

    /// Ends a process that is of no use; in words, how it ended.
    fn end(&mut self) -> String {
        // Gone already, most likely.
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

/// The process that this one takes over from.
pub(crate) struct Predecessor {
    channel: UnixStream,
}

impl Predecessor {
    /// The other end of our standard input.
    ///
    /// # Errors
    /// It is no socket: somebody has typed the flag.
    pub(crate) fn on_standard_input() -> Result<Self, Failure> {
        let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
        let channel = UnixStream::from(descriptor);
        if channel.peer_addr().is_err() {
            return Err(Failure::new(format!(
                "{FLAG} is for `strowger upgrade`, which starts the new process by itself"
            )));
        }
        Ok(Self { channel })
    }

    /// Says that we could go on, and waits for the sockets.
    ///
    /// # Errors
    /// The old process has changed its mind, or has died.
    pub(crate) fn sockets(&mut self) -> Result<Vec<OwnedFd>, Failure> {
        let gone = |error: io::Error| {
            Failure::new(format!(
                "the process to be replaced hands nothing over: {error}"
            ))
        };
        self.channel.write_all(&[PREPARED]).map_err(gone)?;
        self.channel
            .set_read_timeout(Some(HAND_OVER))
            .map_err(gone)?;
        let mut sockets = Vec::new();
        loop {
            let mut word = [0];
            let (count, some) =
                sockets::receive_descriptors(&self.channel, &mut word).map_err(gone)?;
            sockets.extend(some);
            match (count, word[0]) {
                (1, SOCKETS) => {}
                (1, ALL) => return Ok(sockets),
                _ => return Err(gone(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    /// Says that calls are taken, and waits until the old process has told everybody who is the switch now.
    pub(crate) fn ready(mut self) {
        // It may be gone; then we are the switch all the more.
        let _ = self.channel.write_all(&[READY]);
        let _ = hear(&mut self.channel, GO, Duration::from_secs(5));
    }
}

fn hear(channel: &mut UnixStream, word: u8, patience: Duration) -> io::Result<()> {
    channel.set_read_timeout(Some(patience))?;
    let mut heard = [0];
    channel.read_exact(&mut heard)?;
    if heard[0] == word {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}
