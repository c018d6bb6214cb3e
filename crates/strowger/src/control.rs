//! The door for commands of this machine: a Unix socket in the data folder, which only the switch's own user can open.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;
use tracing::warn;

use crate::commands::Failure;

/// Name of the socket inside the data folder.
const SOCKET: &str = "control.sock";
/// How long whoever has connected may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest command: a word and a path.
const COMMAND_BYTES_MAX: u64 = 8 * 1024;
/// How a command to upgrade begins; the path of the binary follows, and a line end.
const UPGRADE: &[u8] = b"upgrade ";

/// How the answer to a command begins.
const DONE: &str = "done";
const FAILED: &str = "failed";

/// Listens for commands.
pub(crate) struct Door {
    /// None where there cannot be a socket: then nothing is ever heard.
    listener: Option<UnixListener>,
    /// Who is being heard. Kept here and not in [`next`](Self::next), which is left and begun again whenever the switch has
    /// something else to do.
    hearing: Option<Hearing>,
}

/// Somebody who has connected, and what was said so far.
struct Hearing {
    client: UnixStream,
    said: Vec<u8>,
    until: Instant,
}

/// Somebody wants this switch to be replaced.
pub(crate) struct UpgradeWanted {
    pub(crate) binary: PathBuf,
    client: UnixStream,
}

impl Door {
    /// Opens the door of a switch that holds the lock on its database, so that whoever listened there before is gone, or is
    /// going.
    pub(crate) fn open(data: &Path) -> Self {
        let path = data.join(SOCKET);
        let listener = remove(&path).and_then(|()| UnixListener::bind(&path));
        let listener = listener.and_then(|listener| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        });
        if let Err(error) = &listener {
            warn!(socket = %path.display(), %error, "`strowger upgrade` is not possible");
        }
        Self {
            listener: listener.ok(),
            hearing: None,
        }
    }

    /// The next wish. Whoever does not make itself understood is let go. Nothing is lost by not waiting to the end.
    pub(crate) async fn next(&mut self) -> UpgradeWanted {
        let Some(listener) = &self.listener else {
            return std::future::pending().await;
        };
        loop {
            let Some(hearing) = &mut self.hearing else {
                match listener.accept().await {
                    Ok((client, _)) => {
                        self.hearing = Some(Hearing {
                            client,
                            said: Vec::new(),
                            until: Instant::now() + PATIENCE,
                        });
                    }
                    Err(error) => {
                        warn!(%error, "a command cannot be heard");
                        tokio::time::sleep(PATIENCE).await;
                    }
                }
                continue;
            };
            let heard = tokio::time::timeout_at(hearing.until, hearing.wish()).await;
            let client = self.hearing.take().map(|hearing| hearing.client);
            if let (Ok(Ok(binary)), Some(client)) = (heard, client) {
                return UpgradeWanted { binary, client };
            }
        }
    }
}

impl Hearing {
    async fn wish(&mut self) -> io::Result<PathBuf> {
        while !self.said.ends_with(b"\n") {
            let room = COMMAND_BYTES_MAX.saturating_sub(self.said.len() as u64);
            let mut reader = (&mut self.client).take(room);
            if reader.read_buf(&mut self.said).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.said.pop();
        let binary = self.said.strip_prefix(UPGRADE);
        let binary = binary.ok_or(ErrorKind::InvalidData)?.to_vec();
        Ok(PathBuf::from(std::ffi::OsString::from_vec(binary)))
    }
}

impl UpgradeWanted {
    /// Says what came of it.
    pub(crate) async fn answer(mut self, outcome: Result<String, String>) {
        let line = match outcome {
            Ok(sentence) => format!("{DONE} {sentence}\n"),
            Err(sentence) => format!("{FAILED} {sentence}\n"),
        };
        // Whoever asked may be gone.
        let _ = self.client.write_all(line.as_bytes()).await;
    }
}

/// Asks the switch of a data folder to be replaced by `binary`, and waits for what comes of it: one sentence.
///
/// # Errors
/// No switch runs there, or it could not be replaced.
pub(crate) fn ask_to_upgrade(data: &Path, binary: &Path) -> Result<String, Failure> {
    let path = data.join(SOCKET);
    let mut stream = BlockingStream::connect(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::new(format!(
            "no switch runs with the data folder {}; --data names another",
            data.display()
        )),
        _ => Failure::new(format!("{} cannot be reached: {error}", path.display())),
    })?;
    let command = [UPGRADE, binary.as_os_str().as_bytes(), b"\n"].concat();
    stream.write_all(&command)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match line.trim_end().split_once(' ') {
        Some((DONE, sentence)) => Ok(sentence.to_owned()),
        Some((FAILED, sentence)) => Err(Failure::new(sentence)),
        _ => Err(Failure::new(
            "the switch has not said what came of it; look at its log",
        )),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_is_heard_and_answered_and_nonsense_is_let_go() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut door = Door::open(folder.path());
        let data = folder.path().to_owned();
        let asking = tokio::task::spawn_blocking(move || {
            for nonsense in [&b"restart\n"[..], b"upgrade /bin", b""] {
                let mut stream = BlockingStream::connect(data.join(SOCKET)).expect("connects");
                stream.write_all(nonsense).expect("sent");
            }
            let first = ask_to_upgrade(&data, Path::new("/usr/bin/a b"));
            (first, ask_to_upgrade(&data, Path::new("/nowhere")))
        });
        let wanted = door.next().await;
        assert_eq!(wanted.binary, Path::new("/usr/bin/a b"));
        wanted.answer(Ok("all is well".into())).await;
        let wanted = door.next().await;
        wanted.answer(Err("there is no such file".into())).await;
        let (first, second) = asking.await.expect("asked");
        assert_eq!(first.expect("done"), "all is well");
        let why = second.expect_err("failed").to_string();
        assert_eq!(why, "There is no such file.");
        let mode = std::fs::metadata(folder.path().join(SOCKET)).expect("there");
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    /// The switch looks after itself every few seconds, and let go whoever was just speaking.
    #[tokio::test]
    async fn a_wish_is_heard_though_the_listener_turned_away_in_between() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut door = Door::open(folder.path());
        let mut stream = BlockingStream::connect(folder.path().join(SOCKET)).expect("connects");
        stream.write_all(b"upgrade /bin").expect("sent");
        while door.hearing.as_ref().is_none_or(|it| it.said.is_empty()) {
            tokio::select! {
                biased;
                _ = door.next() => panic!("only half of it was said"),
                () = tokio::task::yield_now() => {}
            }
        }
        stream.write_all(b"/true\n").expect("sent");
        assert_eq!(door.next().await.binary, Path::new("/bin/true"));
    }

    #[test]
    fn without_a_switch_the_sentence_says_so() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let why = ask_to_upgrade(folder.path(), Path::new("/bin/true")).expect_err("nobody there");
        assert!(why.to_string().contains("No switch runs"), "{why}");
    }
}
