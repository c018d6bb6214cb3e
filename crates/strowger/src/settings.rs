//! The one table of settings.
//!
//! A row says everything there is to say about a setting: its name, its unit, its default, what it does, and how
//! its text becomes a value. The command line, the environment variables, the configuration file, its example and
//! the error messages all read this table, so they cannot disagree.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use driver::{DigestAlgorithm, MediaEngine, MediaFastPath, PortRange};
use media::ringing_tones::RingingTone;

mod read;

/// Everything the program can be told, after all sources were laid over each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) database: String,
    pub(crate) http: SocketAddr,
    pub(crate) api_requests_per_second: NonZeroU32,
    pub(crate) api_request_burst: NonZeroU32,
    pub(crate) sip: Vec<SocketAddr>,
    pub(crate) advertise: Option<IpAddr>,
    pub(crate) alternate_sip: Vec<SocketAddr>,
    pub(crate) alternate_advertise: Option<IpAddr>,
    pub(crate) sip_tls: Vec<SocketAddr>,
    pub(crate) tls_certificate: Vec<PathBuf>,
    pub(crate) tls_key: Vec<PathBuf>,
    pub(crate) tls_client_ca: Option<PathBuf>,
    pub(crate) tls_trust: Vec<PathBuf>,
    pub(crate) options_ping_seconds: u32,
    pub(crate) digest_algorithms: Vec<DigestAlgorithm>,
    pub(crate) ignore_after_failures: u32,
    pub(crate) ignore_seconds: u32,
    pub(crate) rtp_ports: PortRange,
    pub(crate) media_timeout_seconds: u32,
    pub(crate) port_quiet_seconds: u32,
    pub(crate) media_engine: Option<MediaEngine>,
    pub(crate) media_fast_path: MediaFastPath,
    pub(crate) shards: usize,
    pub(crate) max_calls: usize,
    pub(crate) recording_reserve_mib: u64,
    pub(crate) max_transcoded_calls: usize,
    pub(crate) ringback: Option<&'static RingingTone>,
    pub(crate) drain_seconds: u32,
    pub(crate) journal: bool,
    pub(crate) journal_sync: bool,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// One row of the table.
pub(crate) struct Setting {
    /// Name in the file. The flag is the same with dashes, the variable the same in capitals after `STROWGER_`.
    pub(crate) key: &'static str,
    /// What the value is counted in or looks like; stands in the help text and the example file.
    pub(crate) unit: &'static str,
    /// The value when nobody says anything, as text. A list setting may name several.
    pub(crate) default: &'static [&'static str],
    /// One sentence for `--help`; the rest, if any, only for the example file.
    pub(crate) doc: &'static [&'static str],
    /// What it can be, and where it goes.
    value: Value,
}

/// How the texts of a setting become its value. An error is the end of a sentence that begins with the setting's name.
enum Value {
    /// A whole number within one of the ranges; written without quotes in TOML.
    Number {
        allowed: &'static [RangeInclusive<u64>],
        set: fn(&mut Config, u64),
    },
    YesOrNo(fn(&mut Config, bool)),
    Text(fn(&mut Config, &str) -> Result<(), String>),
    /// Any number of texts: the setting may be given several times.
    Texts(fn(&mut Config, &[String]) -> Result<(), String>),
}

/// A heading of the example file and the settings beneath it.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) settings: &'static [Setting],
}

/// The table.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        title: "Records",
        settings: &[
            Setting {
                key: "data",
                unit: "folder",
                default: &["data"],
                doc: &[
                    "Folder of the database and the first key; created with mode 0700.",
                    "A relative path counts from the working directory.",
                ],
                value: Value::Text(|config, text| {
                    if text.is_empty() {
                        return Err("is empty; name a folder".into());
                    }
                    config.data = PathBuf::from(text);
                    Ok(())
                }),
            },
            Setting {
                key: "database",
                unit: "URL",
                default: &[""],
                doc: &[
                    "Where the records are: empty for strowger.db in the data folder, or sqlite:FILE.",
                    "PostgreSQL is not supported yet.",
                ],
                value: Value::Text(|config, text| {
                    config.database = text.to_owned();
                    Ok(())
                }),
            },
        ],
    },
    Group {
        title: "HTTP: the API, its documentation, /healthz and /metrics",
        settings: &[
            Setting {
                key: "http",
                unit: "address:port",
                default: &["127.0.0.1:8080"],
                doc: &[
                    "Address and port of the HTTP API.",
                    "Only this machine by default: API keys travel in clear text over HTTP, so put a proxy",
                    "with TLS in front before you open it to a network.",
                ],
                value: Value::Text(|config, text| {
                    config.http = read::socket_address(text, None)?;
                    Ok(())
                }),
            },
            Setting {
                key: "api_requests_per_second",
                unit: "requests/s",
                default: &["500"],
                doc: &[
                    "Requests one API key may make per second over a longer time; beyond that the answer is 429.",
                    "0 sets no limit.",
                ],
                value: Value::Number {
                    allowed: &[0..=1_000_000],
                    set: |config, number| {
                        config.api_requests_per_second =
                            NonZeroU32::new(number as u32).unwrap_or(NonZeroU32::MAX);
                    },
                },
            },
            Setting {
                key: "api_request_burst",
                unit: "requests",
                default: &["2000"],
                doc: &["Requests one API key may make at once after a pause."],
                value: Value::Number {
                    allowed: &[1..=1_000_000],
                    set: |config, number| {
                        // The least is 1, so the fallback is never taken.
                        config.api_request_burst =
                            NonZeroU32::new(number as u32).unwrap_or(NonZeroU32::MIN);
                    },
                },
            },
        ],
    },
    Group {
        title: "SIP",
        settings: &[
            Setting {
                key: "sip",
                unit: "address:port",
                default: &["0.0.0.0:5060"],
                doc: &[
                    "Address and port for SIP, over UDP and TCP alike; may be given several times.",
                    "Without a port 5060 is meant. An IPv6 address stands in brackets: [::]:5060.",
                ],
                value: Value::Texts(|config, texts| {
                    config.sip = read::addresses(texts, 1, 5060)?;
                    Ok(())
                }),
            },
            Setting {
                key: "advertise",
                unit: "IP address",
                default: &[""],
                doc: &[
                    "Address that peers are told to use, in SIP and SDP; for a switch behind NAT the public one.",
                    "Empty: the address listened on, or for 0.0.0.0 the one of the interface with the default route.",
                ],
                value: Value::Text(|config, text| {
                    config.advertise = read::reachable(text)?;
                    Ok(())
                }),
            },
            Setting {
                key: "alternate_sip",
                unit: "address:port",
                default: &[],
                doc: &[
                    "Second address and port for SIP, over UDP and TCP alike; may be given several times.",
                    "Used by connections with connection-bind-to-alternate-interface-enabled, and by nothing else.",
                ],
                value: Value::Texts(|config, texts| {
                    config.alternate_sip = read::addresses(texts, 0, 5060)?;
                    Ok(())
                }),
            },
            Setting {
                key: "alternate_advertise",
                unit: "IP address",
                default: &[""],
                doc: &[
                    "Address that peers on the second address are told to use, in SIP and SDP.",
                    "Empty: found as for the first address.",
                ],
                value: Value::Text(|config, text| {
                    config.alternate_advertise = read::reachable(text)?;
                    Ok(())
                }),
            },
            Setting {
                key: "sip_tls",
                unit: "address:port",
                default: &[],
                doc: &[
                    "Address and port for SIP over TLS; may be given several times. Without a port 5061 is meant.",
                    "Connections with the transport TLS need one. What is advertised is the same as for sip.",
                ],
                value: Value::Texts(|config, texts| {
                    config.sip_tls = read::addresses(texts, 0, 5061)?;
                    Ok(())
                }),
            },
            Setting {
                key: "tls_certificate",
                unit: "file",
                default: &[],
                doc: &[
                    "Certificate for SIP over TLS in PEM, followed by those that lead to its authority.",
                    "May be given several times, for several names: a peer is shown the one it asks for, else the first.",
                    "Read again on SIGHUP, like the other files of TLS; streams that are open stay open.",
                ],
                value: Value::Texts(|config, texts| {
                    config.tls_certificate = read::files(texts);
                    Ok(())
                }),
            },
            Setting {
                key: "tls_key",
                unit: "file",
                default: &[],
                doc: &["Private key of the certificate, in PEM; one for each, in the same order."],
                value: Value::Texts(|config, texts| {
                    config.tls_key = read::files(texts);
                    Ok(())
                }),
            },
            Setting {
                key: "tls_client_ca",
                unit: "file",
                default: &[""],
                doc: &[
                    "Authorities in PEM, one of which has to have signed the certificate of a peer that connects.",
                    "Empty: connecting peers need no certificate.",
                ],
                value: Value::Text(|config, text| {
                    config.tls_client_ca = read::file(text);
                    Ok(())
                }),
            },
            Setting {
                key: "tls_trust",
                unit: "file",
                default: &[],
                doc: &[
                    "Authorities in PEM that peers we connect to may be certified by, besides the public ones.",
                ],
                value: Value::Texts(|config, texts| {
                    config.tls_trust = read::files(texts);
                    Ok(())
                }),
            },
            Setting {
                key: "options_ping_seconds",
                unit: "seconds",
                default: &["0"],
                doc: &[
                    "How often the peer of each connection is asked with OPTIONS whether it is there; 0 asks nobody.",
                    "Routes pass over a peer that used to answer and does not any more. 60 suits most; 25 also keeps",
                    "the way through a NAT open for peers that register over UDP.",
                ],
                value: Value::Number {
                    allowed: &[0..=0, 5..=3_600],
                    set: |config, number| config.options_ping_seconds = number as u32,
                },
            },
            Setting {
                key: "digest_algorithms",
                unit: "MD5 or SHA-256",
                default: &["MD5", "SHA-256"],
                doc: &[
                    "What is offered to peers that have to authenticate, in this order; no other is accepted.",
                    "Phones from before RFC 8760 may give up when they see SHA-256 at all: MD5 alone helps them.",
                ],
                value: Value::Texts(|config, texts| {
                    config.digest_algorithms = read::digest_algorithms(texts)?;
                    Ok(())
                }),
            },
            Setting {
                key: "ignore_after_failures",
                unit: "failures",
                default: &["20"],
                doc: &[
                    "Wrong passwords and unknown names in a row after which a source is not answered for a while;",
                    "0 never ignores one. Addresses that a connection or a registration names are never ignored.",
                ],
                value: Value::Number {
                    allowed: &[0..=10_000],
                    set: |config, number| config.ignore_after_failures = number as u32,
                },
            },
            Setting {
                key: "ignore_seconds",
                unit: "seconds",
                default: &["300"],
                doc: &[
                    "How long such a source is ignored the first time. Each further time doubles it, up to an hour.",
                ],
                value: Value::Number {
                    allowed: &[1..=604_800],
                    set: |config, number| config.ignore_seconds = number as u32,
                },
            },
            Setting {
                key: "max_calls",
                unit: "calls",
                default: &["10000"],
                doc: &[
                    "Calls that one shard carries at one time; beyond that a new one is answered 503.",
                    "A tenant lives on one shard, so this is also the most that one tenant can have.",
                ],
                value: Value::Number {
                    allowed: &[1..=1_000_000],
                    set: |config, number| config.max_calls = number as usize,
                },
            },
            Setting {
                key: "max_transcoded_calls",
                unit: "calls",
                default: &["100"],
                doc: &[
                    "Calls whose audio one shard converts from one codec to another at one time; 0 converts none.",
                    "Beyond that, a call between sides without a common codec is answered 488. One with Opus on a side costs",
                    "about a hundredth of a processor.",
                ],
                value: Value::Number {
                    allowed: &[0..=100_000],
                    set: |config, number| config.max_transcoded_calls = number as usize,
                },
            },
            Setting {
                key: "shards",
                unit: "threads",
                default: &["0"],
                doc: &[
                    "Threads that switch calls, each with one for media beside it; 0 means one per two processors.",
                ],
                value: Value::Number {
                    allowed: &[0..=driver::MAX_SHARDS as u64],
                    set: |config, number| config.shards = number as usize,
                },
            },
        ],
    },
    Group {
        title: "Media",
        settings: &[
            Setting {
                key: "rtp_ports",
                unit: "first-last",
                default: &["20000-29999"],
                doc: &[
                    "UDP ports for RTP and RTCP, both ends included.",
                    "A relayed call takes four: a pair for each side. Open them in the firewall.",
                ],
                value: Value::Text(|config, text| {
                    config.rtp_ports = read::port_range(text)?;
                    Ok(())
                }),
            },
            Setting {
                key: "ringback_country",
                unit: "country",
                default: &["us"],
                doc: &[
                    "Whose ringing tone a caller hears from us while it would hear nothing of the called side: two letters",
                    "as in de, gb or us; itu where a country is missing, for what ITU-T E.180 recommends; off for no tone.",
                ],
                value: Value::Text(|config, text| {
                    config.ringback = read::ringback(text)?;
                    Ok(())
                }),
            },
            Setting {
                key: "media_timeout_seconds",
                unit: "seconds",
                default: &["60"],
                doc: &[
                    "Silence of both sides after which a relayed call is ended; 0 never ends one.",
                ],
                value: Value::Number {
                    allowed: &[0..=86_400],
                    set: |config, number| config.media_timeout_seconds = number as u32,
                },
            },
            Setting {
                key: "port_quiet_seconds",
                unit: "seconds",
                default: &["5"],
                doc: &[
                    "Time a media port rests after a call, so that its late packets never reach the next call.",
                ],
                value: Value::Number {
                    allowed: &[0..=3_600],
                    set: |config, number| config.port_quiet_seconds = number as u32,
                },
            },
            Setting {
                key: "media_engine",
                unit: "auto|io_uring|epoll",
                default: &["auto"],
                doc: &[
                    "How media packets get into the process and out of it.",
                    "io_uring costs a quarter less than epoll. It needs Linux 6.1, and many containers forbid it;",
                    "auto sends a packet through it at the start and takes epoll where that fails.",
                ],
                value: Value::Text(|config, text| {
                    config.media_engine = match text {
                        "auto" => None,
                        "io_uring" => Some(MediaEngine::Ring),
                        "epoll" => Some(MediaEngine::Polled),
                        other => {
                            return Err(format!(
                                "is \"{other}\"; it can be \"auto\", \"io_uring\" or \"epoll\""
                            ));
                        }
                    };
                    Ok(())
                }),
            },
            Setting {
                key: "media_fast_path",
                unit: "auto|on|off",
                default: &["auto"],
                doc: &[
                    "Whether the kernel relays ordinary media streams by itself: no packet waits, and each costs less.",
                    "It needs Linux 6.6 and the capabilities CAP_BPF and CAP_NET_ADMIN. Its packets do not pass the host's",
                    "packet filter. auto: over Ethernet, where it works; on: over loopback too, or nothing starts.",
                ],
                value: Value::Text(|config, text| {
                    config.media_fast_path = match text {
                        "auto" => MediaFastPath::Auto,
                        "on" => MediaFastPath::On,
                        "off" => MediaFastPath::Off,
                        other => {
                            return Err(format!(
                                "is \"{other}\"; it can be \"auto\", \"on\" or \"off\""
                            ));
                        }
                    };
                    Ok(())
                }),
            },
            Setting {
                key: "recording_reserve_mib",
                unit: "MiB",
                default: &["1024"],
                doc: &[
                    "Room on the disk of the data folder that recordings leave to everything else: with less, none begins.",
                    "An hour of a recorded call takes 110 MiB. Recordings are never removed; see docs/operations.md.",
                ],
                value: Value::Number {
                    allowed: &[0..=1_000_000_000],
                    set: |config, number| config.recording_reserve_mib = number,
                },
            },
        ],
    },
    Group {
        title: "Running",
        settings: &[
            Setting {
                key: "drain_seconds",
                unit: "seconds",
                default: &["30"],
                doc: &[
                    "Time that running calls get to end by themselves once the switch was told to stop.",
                    "New calls are answered 503 meanwhile; a second signal does not wait.",
                ],
                value: Value::Number {
                    allowed: &[0..=86_400],
                    set: |config, number| config.drain_seconds = number as u32,
                },
            },
            Setting {
                key: "journal",
                unit: "yes|no",
                default: &["yes"],
                doc: &[
                    "Whether calls outlive the process: after a crash, a kill or an upgrade they go on.",
                    "What they need is written to the journal folder in the data folder, some kilobytes a call.",
                ],
                value: Value::YesOrNo(|config, yes| config.journal = yes),
            },
            Setting {
                key: "journal_sync",
                unit: "yes|no",
                default: &["no"],
                doc: &[
                    "Whether each change of a call is flushed to the disk before anything is said that follows from it.",
                    "Only a power cut needs that, and few calls survive one; every message then waits for the disk.",
                ],
                value: Value::YesOrNo(|config, yes| config.journal_sync = yes),
            },
            Setting {
                key: "log_format",
                unit: "text|json",
                default: &["text"],
                doc: &[
                    "Log lines for people (text) or one JSON object per line (json), on standard error.",
                ],
                value: Value::Text(|config, text| {
                    config.log_format = match text {
                        "text" => LogFormat::Text,
                        "json" => LogFormat::Json,
                        other => {
                            return Err(format!("is \"{other}\"; it can be \"text\" or \"json\""));
                        }
                    };
                    Ok(())
                }),
            },
            Setting {
                key: "log_level",
                unit: "filter",
                default: &["info"],
                doc: &[
                    "Least important lines that are still logged: error, warn, info, debug or trace.",
                    "Also per part of the program, as in \"info,driver=debug\".",
                ],
                value: Value::Text(|config, text| {
                    if let Err(error) = text.parse::<tracing_subscriber::filter::Targets>() {
                        return Err(format!(
                            "is \"{text}\", which is not a log filter ({error})"
                        ));
                    }
                    config.log_level = text.to_owned();
                    Ok(())
                }),
            },
        ],
    },
];

/// All rows, in the order of the example file.
pub(crate) fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

impl Setting {
    /// `--drain-seconds`
    pub(crate) fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// `STROWGER_DRAIN_SECONDS`
    pub(crate) fn variable(&self) -> String {
        format!("{}{}", VARIABLE_PREFIX, self.key.to_uppercase())
    }

    /// Puts the value that the texts spell into the configuration.
    ///
    /// # Errors
    /// The end of a sentence that begins with the name of the setting, in whatever form its source uses.
    pub(crate) fn apply(&self, config: &mut Config, texts: &[String]) -> Result<(), String> {
        match self.value {
            Value::Number { allowed, set } => {
                set(config, read::number(read::one(texts)?, allowed)?)
            }
            Value::YesOrNo(set) => set(config, read::yes_or_no(read::one(texts)?)?),
            Value::Text(set) => return set(config, read::one(texts)?),
            Value::Texts(set) => return set(config, texts),
        }
        Ok(())
    }

    /// Whether it may be given several times.
    pub(crate) fn many(&self) -> bool {
        matches!(self.value, Value::Texts(_))
    }

    /// A value as it stands in the file.
    fn spell(&self, text: &str) -> String {
        match self.value {
            Value::Number { .. } => text.to_owned(),
            _ => format!("\"{text}\""),
        }
    }
}

/// How an environment variable of ours begins.
pub(crate) const VARIABLE_PREFIX: &str = "STROWGER_";

impl Default for Config {
    /// The defaults of the table and nothing else.
    fn default() -> Self {
        let mut config = Self {
            data: PathBuf::new(),
            database: String::new(),
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            api_requests_per_second: NonZeroU32::MIN,
            api_request_burst: NonZeroU32::MIN,
            sip: Vec::new(),
            advertise: None,
            alternate_sip: Vec::new(),
            alternate_advertise: None,
            sip_tls: Vec::new(),
            tls_certificate: Vec::new(),
            tls_key: Vec::new(),
            tls_client_ca: None,
            tls_trust: Vec::new(),
            options_ping_seconds: 0,
            digest_algorithms: Vec::new(),
            ignore_after_failures: 0,
            ignore_seconds: 0,
            rtp_ports: PortRange { first: 0, last: 0 },
            media_timeout_seconds: 0,
            port_quiet_seconds: 0,
            media_engine: None,
            media_fast_path: MediaFastPath::Off,
            shards: 0,
            max_calls: 0,
            recording_reserve_mib: 0,
            max_transcoded_calls: 0,
            ringback: None,
            drain_seconds: 0,
            journal: false,
            journal_sync: false,
            log_format: LogFormat::Text,
            log_level: String::new(),
        };
        for setting in all() {
            let texts: Vec<String> = setting
                .default
                .iter()
                .map(|&text| text.to_owned())
                .collect();
            // A default that its own row refuses is a mistake in the table; the tests below find it.
            if let Err(error) = setting.apply(&mut config, &texts) {
                debug_assert!(false, "default of {}: {error}", setting.key);
            }
        }
        config
    }
}

/// The text of `strowger.example.toml`.
pub(crate) fn example_toml() -> String {
    let mut text = String::from(EXAMPLE_HEAD);
    for group in GROUPS {
        text.push_str(&format!(
            "\n\n# ── {} {}\n",
            group.title,
            "─".repeat(90_usize.saturating_sub(group.title.chars().count()))
        ));
        for setting in group.settings {
            text.push('\n');
            for line in setting.doc {
                text.push_str(&format!("# {line}\n"));
            }
            let values: Vec<String> = setting
                .default
                .iter()
                .map(|text| setting.spell(text))
                .collect();
            let value = if setting.many() {
                format!("[{}]", values.join(", "))
            } else {
                values.concat()
            };
            text.push_str(&format!(
                "# Unit: {}. Flag: --{}. Variable: {}.\n",
                setting.unit,
                setting.flag(),
                setting.variable()
            ));
            text.push_str(&format!("#{} = {value}\n", setting.key));
        }
    }
    text
}

const EXAMPLE_HEAD: &str = "\
# Every setting of Strowger with its default. A line that stays commented out changes nothing.
#
#   strowger serve --config strowger.toml
#
# A flag goes before an environment variable, a variable before this file, this file before the default.
# `strowger check --config FILE` reads a file and says what is wrong with it. A name that is not in here
# is an error. This text is generated: `strowger check --example` prints it.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_accepted_by_its_own_row() {
        let mut config = Config::default();
        for setting in all() {
            let texts: Vec<String> = setting
                .default
                .iter()
                .map(|&text| text.to_owned())
                .collect();
            assert_eq!(
                setting.apply(&mut config, &texts),
                Ok(()),
                "{}",
                setting.key
            );
        }
        assert_eq!(config, Config::default());
        assert_eq!(config.rtp_ports.pairs(), 5_000);
    }

    #[test]
    fn names_are_unique_and_carry_their_unit() {
        let names: std::collections::BTreeSet<_> = all().map(|setting| setting.key).collect();
        assert_eq!(names.len(), all().count());
        for setting in all() {
            if matches!(setting.unit, "seconds" | "bytes") {
                assert!(
                    setting.key.ends_with(setting.unit),
                    "{} is counted in {}",
                    setting.key,
                    setting.unit
                );
            }
            assert!(
                setting.doc.iter().all(|line| line.len() <= 110),
                "a line about {} is too long",
                setting.key
            );
        }
    }

    #[test]
    fn the_example_file_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../strowger.example.toml");
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == example_toml(),
            "strowger.example.toml is out of date: cargo run -p strowger -- check --example > strowger.example.toml"
        );
    }

    #[test]
    fn the_example_file_is_valid_when_every_line_is_uncommented() {
        let text: String = example_toml()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest)
                    if all().any(|setting| rest.starts_with(&format!("{} = ", setting.key))) =>
                {
                    format!("{rest}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let table: toml::Table = text.parse().expect("valid TOML");
        assert_eq!(table.len(), all().count());
    }
}
