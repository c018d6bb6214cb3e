//! What a newcomer needs next, printed when the switch is up.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::terminal::Paint;

/// The facts of a switch that has started.
#[derive(Debug)]
pub(crate) struct Banner<'a> {
    pub(crate) http: SocketAddr,
    pub(crate) sip: &'a [SocketAddr],
    pub(crate) sip_tls: &'a [SocketAddr],
    /// The address that peers are told, where it differs from the one listened on.
    pub(crate) advertise: &'a str,
    pub(crate) rtp_ports: (u16, u16),
    pub(crate) data: &'a Path,
    /// Where the first key is; nothing when its file is gone.
    pub(crate) key: Option<&'a Path>,
    /// Nobody has used the key yet, so whoever reads this knows nothing yet.
    pub(crate) newcomer: bool,
}

impl Banner<'_> {
    /// The long form for a newcomer, a few lines later on.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let api = format!("http://{}/ns-api/v2", reachable(self.http));
        let docs = format!("http://{}/docs", reachable(self.http));
        let sip: Vec<String> = self
            .sip
            .iter()
            .map(|address| format!("{address} (UDP and TCP)"))
            .chain(
                self.sip_tls
                    .iter()
                    .map(|address| format!("{address} (TLS)")),
            )
            .collect();
        let sip = sip.join(", ");
        let version = env!("CARGO_PKG_VERSION");
        let mut text = String::new();
        if !self.newcomer {
            let _ = writeln!(text, "{} {version} is ready.", paint.bold("Strowger"));
            let _ = writeln!(text, "  API  {api}   docs  {docs}");
            let _ = writeln!(
                text,
                "  SIP  {sip}, known as {}   RTP  {}-{}",
                self.advertise, self.rtp_ports.0, self.rtp_ports.1
            );
            match self.key {
                Some(key) => _ = writeln!(text, "  key  {}", key.display()),
                None => _ = writeln!(text, "  data {}", self.data.display()),
            }
            return text;
        }
        let _ = writeln!(
            text,
            "\n  {} {version} is ready. Welcome.\n",
            paint.bold("Strowger")
        );
        let mut row = |name: &str, value: &str, note: &str| {
            let _ = writeln!(
                text,
                "  {}  {}  {}",
                paint.dim(&format!("{name:<12}")),
                value,
                paint.dim(note)
            );
        };
        row("API", &paint.bold(&api), "");
        row(
            "Docs",
            &paint.bold(&docs),
            "every operation, with a form to try it",
        );
        row("SIP", &sip, &format!("peers are told {}", self.advertise));
        row(
            "RTP",
            &format!("{}-{}", self.rtp_ports.0, self.rtp_ports.1),
            "UDP; open these in the firewall",
        );
        row(
            "Data",
            &self.data.display().to_string(),
            "the database; back this folder up",
        );
        if let Some(key) = self.key {
            row(
                "First key",
                &paint.bold(&key.display().to_string()),
                "can do everything: keep it safe",
            );
            let file = shell_word(&key.display().to_string());
            let command = format!("curl -H \"Authorization: Bearer $(cat {file})\" {api}/version");
            let _ = writeln!(text, "\n  Try it:\n\n    {}", paint.cyan(&command));
        }
        let _ = writeln!(text, "\n  {}", paint.dim("Next: two connections and a dial rule, see docs/getting-started.md. Ctrl-C drains and stops."));
        text
    }
}

/// A path as a shell takes it for one word.
fn shell_word(path: &str) -> String {
    match path
        .chars()
        .all(|symbol| symbol.is_alphanumeric() || "/._-".contains(symbol))
    {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// An address that a browser on this machine can open.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(newcomer: bool, sip: &[SocketAddr]) -> String {
        let banner = Banner {
            http: "0.0.0.0:8080".parse().expect("address"),
            sip,
            sip_tls: &["0.0.0.0:5061".parse().expect("address")],
            advertise: "192.0.2.1",
            rtp_ports: (20_000, 29_999),
            data: Path::new("data"),
            key: Some(Path::new("data/superuser.key")),
            newcomer,
        };
        banner.text(Paint::plain())
    }

    #[test]
    fn the_first_start_says_what_to_do_next() {
        let text = banner(true, &["0.0.0.0:5060".parse().expect("address")]);
        for part in [
            "http://127.0.0.1:8080/ns-api/v2",
            "/docs",
            "0.0.0.0:5060",
            "0.0.0.0:5061 (TLS)",
            "192.0.2.1",
            "$(cat data/superuser.key)",
        ] {
            assert!(text.contains(part), "\"{part}\" is missing in {text}");
        }
    }

    #[test]
    fn paths_are_one_word_to_a_shell() {
        assert_eq!(shell_word("data/superuser.key"), "data/superuser.key");
        assert_eq!(shell_word("my data/it's.key"), r"'my data/it'\''s.key'");
    }

    #[test]
    fn later_starts_say_the_same_shorter() {
        let sip = ["0.0.0.0:5060".parse().expect("address")];
        let (long, short) = (banner(true, &sip), banner(false, &sip));
        assert!(short.lines().count() * 2 < long.lines().count(), "{short}");
        assert!(
            short.contains("/ns-api/v2")
                && short.contains("/docs")
                && short.contains("superuser.key")
        );
    }
}
