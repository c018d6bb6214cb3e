//! The one table of settings.
//!
//! A row says everything there is to say about a setting: its name, its unit, its default, what it does, and how
//! its text becomes a value. The command line, the environment variables, the configuration file, its example and
//! the error messages all read this table, so they cannot disagree.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use driver::{DIGEST_ALGORITHMS, DigestAlgorithm, MediaEngine, PortRange};
use media::ringing_tones::RingingTone;

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
    /// Whether the setting may be given several times.
    pub(crate) many: bool,
    /// The text written without quotes in TOML: numbers.
    pub(crate) bare: bool,
    /// One sentence for `--help`; the rest, if any, only for the example file.
    pub(crate) doc: &'static [&'static str],
    /// Text to value. The error is the end of a sentence that begins with the setting's name.
    apply: fn(&mut Config, &[String]) -> Result<(), String>,
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
                many: false,
                bare: false,
                doc: &[
                    "Folder of the database and the first key; created with mode 0700.",
                    "A relative path counts from the working directory.",
                ],
                apply: |config, texts| {
                    let text = one(texts)?;
                    if text.is_empty() {
                        return Err("is empty; name a folder".into());
                    }
                    config.data = PathBuf::from(text);
                    Ok(())
                },
            },
            Setting {
                key: "database",
                unit: "URL",
                default: &[""],
                many: false,
                bare: false,
                doc: &[
                    "Where the records are: empty for strowger.db in the data folder, or sqlite:FILE.",
                    "PostgreSQL is not supported yet.",
                ],
                apply: |config, texts| {
                    config.database = one(texts)?.to_owned();
                    Ok(())
                },
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
                many: false,
                bare: false,
                doc: &[
                    "Address and port of the HTTP API.",
                    "Only this machine by default: API keys travel in clear text over HTTP, so put a proxy",
                    "with TLS in front before you open it to a network.",
                ],
                apply: |config, texts| {
                    config.http = socket_address(one(texts)?, None)?;
                    Ok(())
                },
            },
            Setting {
                key: "api_requests_per_second",
                unit: "requests/s",
                default: &["500"],
                many: false,
                bare: true,
                doc: &[
                    "Requests one API key may make per second over a longer time; beyond that the answer is 429.",
                    "0 sets no limit.",
                ],
                apply: |config, texts| {
                    let number = integer(one(texts)?, 0, 1_000_000)? as u32;
                    config.api_requests_per_second =
                        NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX);
                    Ok(())
                },
            },
            Setting {
                key: "api_request_burst",
                unit: "requests",
                default: &["2000"],
                many: false,
                bare: true,
                doc: &["Requests one API key may make at once after a pause."],
                apply: |config, texts| {
                    // The least is 1, so the fallback is never taken.
                    let number = integer(one(texts)?, 1, 1_000_000)? as u32;
                    config.api_request_burst = NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
                    Ok(())
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
                many: true,
                bare: false,
                doc: &[
                    "Address and port for SIP, over UDP and TCP alike; may be given several times.",
                    "Without a port 5060 is meant. An IPv6 address stands in brackets: [::]:5060.",
                ],
                apply: |config, texts| {
                    config.sip = addresses(texts, 1, 5060)?;
                    Ok(())
                },
            },
            Setting {
                key: "advertise",
                unit: "IP address",
                default: &[""],
                many: false,
                bare: false,
                doc: &[
                    "Address that peers are told to use, in SIP and SDP; for a switch behind NAT the public one.",
                    "Empty: the address listened on, or for 0.0.0.0 the one of the interface with the default route.",
                ],
                apply: |config, texts| {
                    config.advertise = reachable(one(texts)?)?;
                    Ok(())
                },
            },
            Setting {
                key: "alternate_sip",
                unit: "address:port",
                default: &[],
                many: true,
                bare: false,
                doc: &[
                    "Second address and port for SIP, over UDP and TCP alike; may be given several times.",
                    "Used by connections with connection-bind-to-alternate-interface-enabled, and by nothing else.",
                ],
                apply: |config, texts| {
                    config.alternate_sip = addresses(texts, 0, 5060)?;
                    Ok(())
                },
            },
            Setting {
                key: "alternate_advertise",
                unit: "IP address",
                default: &[""],
                many: false,
                bare: false,
                doc: &[
                    "Address that peers on the second address are told to use, in SIP and SDP.",
                    "Empty: found as for the first address.",
                ],
                apply: |config, texts| {
                    config.alternate_advertise = reachable(one(texts)?)?;
                    Ok(())
                },
            },
            Setting {
                key: "sip_tls",
                unit: "address:port",
                default: &[],
                many: true,
                bare: false,
                doc: &[
                    "Address and port for SIP over TLS; may be given several times. Without a port 5061 is meant.",
                    "Connections with the transport TLS need one. What is advertised is the same as for sip.",
                ],
                apply: |config, texts| {
                    config.sip_tls = addresses(texts, 0, 5061)?;
                    Ok(())
                },
            },
            Setting {
                key: "tls_certificate",
                unit: "file",
                default: &[],
                many: true,
                bare: false,
                doc: &[
                    "Certificate for SIP over TLS in PEM, followed by those that lead to its authority.",
                    "May be given several times, for several names: a peer is shown the one it asks for, else the first.",
                    "Read again on SIGHUP, like the other files of TLS; streams that are open stay open.",
                ],
                apply: |config, texts| {
                    config.tls_certificate = files(texts);
                    Ok(())
                },
            },
            Setting {
                key: "tls_key",
                unit: "file",
                default: &[],
                many: true,
                bare: false,
                doc: &["Private key of the certificate, in PEM; one for each, in the same order."],
                apply: |config, texts| {
                    config.tls_key = files(texts);
                    Ok(())
                },
            },
            Setting {
                key: "tls_client_ca",
                unit: "file",
                default: &[""],
                many: false,
                bare: false,
                doc: &[
                    "Authorities in PEM, one of which has to have signed the certificate of a peer that connects.",
                    "Empty: connecting peers need no certificate.",
                ],
                apply: |config, texts| {
                    config.tls_client_ca = file(one(texts)?);
                    Ok(())
                },
            },
            Setting {
                key: "tls_trust",
                unit: "file",
                default: &[],
                many: true,
                bare: false,
                doc: &[
                    "Authorities in PEM that peers we connect to may be certified by, besides the public ones.",
                ],
                apply: |config, texts| {
                    config.tls_trust = files(texts);
                    Ok(())
                },
            },
            Setting {
                key: "options_ping_seconds",
                unit: "seconds",
                default: &["0"],
                many: false,
                bare: true,
                doc: &[
                    "How often the peer of each connection is asked with OPTIONS whether it is there; 0 asks nobody.",
                    "Routes pass over a peer that used to answer and does not any more. 60 suits most; 25 also keeps",
                    "the way through a NAT open for peers that register over UDP.",
                ],
                apply: |config, texts| {
                    let text = one(texts)?;
                    config.options_ping_seconds = match integer(text, 0, 3_600)? as u32 {
                        1..=4 => {
                            return Err(format!("is \"{text}\"; it can be 0, or 5 to 3600"));
                        }
                        seconds => seconds,
                    };
                    Ok(())
                },
            },
            Setting {
                key: "digest_algorithms",
                unit: "MD5 or SHA-256",
                default: &["MD5", "SHA-256"],
                many: true,
                bare: false,
                doc: &[
                    "What is offered to peers that have to authenticate, in this order; no other is accepted.",
                    "Phones from before RFC 8760 may give up when they see SHA-256 at all: MD5 alone helps them.",
                ],
                apply: |config, texts| {
                    config.digest_algorithms = digest_algorithms(texts)?;
                    Ok(())
                },
            },
            Setting {
                key: "ignore_after_failures",
                unit: "failures",
                default: &["20"],
                many: false,
                bare: true,
                doc: &[
                    "Wrong passwords and unknown names in a row after which a source is not answered for a while;",
                    "0 never ignores one. Addresses that a connection or a registration names are never ignored.",
                ],
                apply: |config, texts| {
                    config.ignore_after_failures = integer(one(texts)?, 0, 10_000)? as u32;
                    Ok(())
                },
            },
            Setting {
                key: "ignore_seconds",
                unit: "seconds",
                default: &["300"],
                many: false,
                bare: true,
                doc: &[
                    "How long such a source is ignored the first time. Each further time doubles it, up to an hour.",
                ],
                apply: |config, texts| {
                    config.ignore_seconds = integer(one(texts)?, 1, 604_800)? as u32;
                    Ok(())
                },
            },
            Setting {
                key: "max_calls",
                unit: "calls",
                default: &["10000"],
                many: false,
                bare: true,
                doc: &[
                    "Calls that one shard carries at one time; beyond that a new one is answered 503.",
                    "A tenant lives on one shard, so this is also the most that one tenant can have.",
                ],
                apply: |config, texts| {
                    config.max_calls = integer(one(texts)?, 1, 1_000_000)? as usize;
                    Ok(())
                },
            },
            Setting {
                key: "max_transcoded_calls",
                unit: "calls",
                default: &["100"],
                many: false,
                bare: true,
                doc: &[
                    "Calls whose audio one shard converts from one codec to another at one time; 0 converts none.",
                    "Beyond that, a call between sides without a common codec is answered 488. One with Opus on a side costs",
                    "about a hundredth of a processor.",
                ],
                apply: |config, texts| {
                    config.max_transcoded_calls = integer(one(texts)?, 0, 100_000)? as usize;
                    Ok(())
                },
            },
            Setting {
                key: "shards",
                unit: "threads",
                default: &["0"],
                many: false,
                bare: true,
                doc: &[
                    "Threads that switch calls, each with one for media beside it; 0 means one per two processors.",
                ],
                apply: |config, texts| {
                    config.shards = integer(one(texts)?, 0, SHARDS_MAX as u64)? as usize;
                    Ok(())
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
                many: false,
                bare: false,
                doc: &[
                    "UDP ports for RTP and RTCP, both ends included.",
                    "A relayed call takes four: a pair for each side. Open them in the firewall.",
                ],
                apply: |config, texts| {
                    config.rtp_ports = port_range(one(texts)?)?;
                    Ok(())
                },
            },
            Setting {
                key: "ringback_country",
                unit: "country",
                default: &["us"],
                many: false,
                bare: false,
                doc: &[
                    "Whose ringing tone a caller hears from us while it would hear nothing of the called side: two letters",
                    "as in de, gb or us; itu where a country is missing, for what ITU-T E.180 recommends; off for no tone.",
                ],
                apply: |config, texts| {
                    config.ringback = ringback(one(texts)?)?;
                    Ok(())
                },
            },
            Setting {
                key: "media_timeout_seconds",
                unit: "seconds",
                default: &["60"],
                many: false,
                bare: true,
                doc: &[
                    "Silence of both sides after which a relayed call is ended; 0 never ends one.",
                ],
                apply: |config, texts| {
                    config.media_timeout_seconds = integer(one(texts)?, 0, 86_400)? as u32;
                    Ok(())
                },
            },
            Setting {
                key: "port_quiet_seconds",
                unit: "seconds",
                default: &["5"],
                many: false,
                bare: true,
                doc: &[
                    "Time a media port rests after a call, so that its late packets never reach the next call.",
                ],
                apply: |config, texts| {
                    config.port_quiet_seconds = integer(one(texts)?, 0, 3_600)? as u32;
                    Ok(())
                },
            },
            Setting {
                key: "media_engine",
                unit: "auto|io_uring|epoll",
                default: &["auto"],
                many: false,
                bare: false,
                doc: &[
                    "How media packets get into the process and out of it.",
                    "io_uring costs a quarter less than epoll. It needs Linux 6.1, and many containers forbid it;",
                    "auto sends a packet through it at the start and takes epoll where that fails.",
                ],
                apply: |config, texts| {
                    config.media_engine = match one(texts)? {
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
                },
            },
            Setting {
                key: "recording_reserve_mib",
                unit: "MiB",
                default: &["1024"],
                many: false,
                bare: true,
                doc: &[
                    "Room on the disk of the data folder that recordings leave to everything else: with less, none begins.",
                    "An hour of a recorded call takes 110 MiB. Recordings are never removed; see docs/operations.md.",
                ],
                apply: |config, texts| {
                    config.recording_reserve_mib = integer(one(texts)?, 0, 1_000_000_000)?;
                    Ok(())
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
                many: false,
                bare: true,
                doc: &[
                    "Time that running calls get to end by themselves once the switch was told to stop.",
                    "New calls are answered 503 meanwhile; a second signal does not wait.",
                ],
                apply: |config, texts| {
                    config.drain_seconds = integer(one(texts)?, 0, 86_400)? as u32;
                    Ok(())
                },
            },
            Setting {
                key: "journal",
                unit: "yes|no",
                default: &["yes"],
                many: false,
                bare: false,
                doc: &[
                    "Whether calls outlive the process: after a crash, a kill or an upgrade they go on.",
                    "What they need is written to the journal folder in the data folder, some kilobytes a call.",
                ],
                apply: |config, texts| {
                    config.journal = yes_or_no(one(texts)?)?;
                    Ok(())
                },
            },
            Setting {
                key: "journal_sync",
                unit: "yes|no",
                default: &["no"],
                many: false,
                bare: false,
                doc: &[
                    "Whether each change of a call is flushed to the disk before anything is said that follows from it.",
                    "Only a power cut needs that, and few calls survive one; every message then waits for the disk.",
                ],
                apply: |config, texts| {
                    config.journal_sync = yes_or_no(one(texts)?)?;
                    Ok(())
                },
            },
            Setting {
                key: "log_format",
                unit: "text|json",
                default: &["text"],
                many: false,
                bare: false,
                doc: &[
                    "Log lines for people (text) or one JSON object per line (json), on standard error.",
                ],
                apply: |config, texts| {
                    config.log_format = match one(texts)? {
                        "text" => LogFormat::Text,
                        "json" => LogFormat::Json,
                        other => {
                            return Err(format!("is \"{other}\"; it can be \"text\" or \"json\""));
                        }
                    };
                    Ok(())
                },
            },
            Setting {
                key: "log_level",
                unit: "filter",
                default: &["info"],
                many: false,
                bare: false,
                doc: &[
                    "Least important lines that are still logged: error, warn, info, debug or trace.",
                    "Also per part of the program, as in \"info,driver=debug\".",
                ],
                apply: |config, texts| {
                    let text = one(texts)?;
                    if let Err(error) = text.parse::<tracing_subscriber::filter::Targets>() {
                        return Err(format!(
                            "is \"{text}\", which is not a log filter ({error})"
                        ));
                    }
                    config.log_level = text.to_owned();
                    Ok(())
                },
            },
        ],
    },
];

/// Addresses SIP can listen on.
const SIP_ADDRESSES_MAX: usize = driver::MAX_ADDRESSES;
/// Threads that calls can be spread over.
const SHARDS_MAX: usize = driver::MAX_SHARDS;

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
        (self.apply)(config, texts)
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
            let spell = |value: &&str| {
                if setting.bare {
                    (*value).to_owned()
                } else {
                    format!("\"{value}\"")
                }
            };
            let values: Vec<String> = setting.default.iter().map(spell).collect();
            let value = if setting.many {
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

fn one(texts: &[String]) -> Result<&str, String> {
    match texts {
        [text] => Ok(text.trim()),
        _ => Err(format!("takes one value, not {}", texts.len())),
    }
}

/// Algorithms of digest challenges: at least one, none twice.
fn digest_algorithms(texts: &[String]) -> Result<Vec<DigestAlgorithm>, String> {
    let mut algorithms = Vec::new();
    for text in texts {
        let algorithm = DIGEST_ALGORITHMS
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| format!("is {text:?}; MD5 and SHA-256 are known"))?;
        if algorithms.contains(&algorithm) {
            return Err(format!("names {} twice", algorithm.as_str()));
        }
        algorithms.push(algorithm);
    }
    if algorithms.is_empty() {
        return Err("is empty; name MD5, SHA-256 or both".into());
    }
    Ok(algorithms)
}

/// Addresses to listen on, between `least` and what the driver can carry.
fn addresses(texts: &[String], least: usize, port: u16) -> Result<Vec<SocketAddr>, String> {
    // An empty variable or file entry means the same as none.
    let texts: Vec<&str> = texts
        .iter()
        .map(|text| text.trim())
        .filter(|text| least > 0 || !text.is_empty())
        .collect();
    if texts.len() < least || texts.len() > SIP_ADDRESSES_MAX {
        return Err(format!(
            "needs between {least} and {SIP_ADDRESSES_MAX} addresses, not {}",
            texts.len()
        ));
    }
    texts
        .into_iter()
        .map(|text| socket_address(text, Some(port)))
        .collect()
}

/// An address that peers can be told; empty is none.
fn reachable(text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text
        .trim_matches(['[', ']'])
        .parse::<IpAddr>()
        .map_err(|_| format!("is \"{text}\", which is not an IP address"))?;
    if address.is_unspecified() {
        return Err(format!("is {address}, an address that nobody can reach"));
    }
    Ok(Some(address))
}

/// A country's ringing tone; off is none.
fn ringback(country: &str) -> Result<Option<&'static RingingTone>, String> {
    if country.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    RingingTone::of_country(country)
        .map(Some)
        .map_err(|error| format!("is {error}, and off"))
}

fn files(texts: &[String]) -> Vec<PathBuf> {
    texts.iter().filter_map(|text| file(text.trim())).collect()
}

fn file(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(format!("is \"{other}\"; it can be \"yes\" or \"no\"")),
    }
}

fn integer(text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!(
            "is \"{text}\"; it can be a whole number from {least} to {most}"
        )),
    }
}

fn socket_address(text: &str, default_port: Option<u16>) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let (Some(port), Ok(ip)) = (
        default_port,
        text.trim_matches(['[', ']']).parse::<IpAddr>(),
    ) {
        return Ok(SocketAddr::new(ip, port));
    }
    let host_hint = if text.starts_with("localhost") {
        " (write 127.0.0.1 for localhost)"
    } else {
        ""
    };
    Err(format!(
        "is \"{text}\", which is not an address and port such as 127.0.0.1:8080 or [::1]:8080{host_hint}"
    ))
}

fn port_range(text: &str) -> Result<PortRange, String> {
    let ends = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    match ends {
        Some((first, last)) if first >= 1024 && PortRange { first, last }.pairs() >= 2 => {
            Ok(PortRange { first, last })
        }
        Some((first, last)) if first >= 1024 && first <= last => Err(format!(
            "is {first}-{last}, too few ports for one relayed call; it needs four"
        )),
        _ => Err(format!(
            "is \"{text}\", which is not a range of ports above 1023 such as 20000-29999"
        )),
    }
}

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

    #[test]
    fn port_ranges() {
        assert_eq!(
            port_range("20000-29999"),
            Ok(PortRange {
                first: 20_000,
                last: 29_999
            })
        );
        assert_eq!(
            PortRange {
                first: 20_001,
                last: 20_004
            }
            .pairs(),
            1
        );
        for wrong in [
            "",
            "20000",
            "29999-20000",
            "80-90",
            "20000-20002",
            "20000-70000",
            "a-b",
        ] {
            assert!(port_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sip_address_may_leave_the_port_out() {
        assert_eq!(
            socket_address("192.0.2.1", Some(5060)),
            Ok(SocketAddr::from(([192, 0, 2, 1], 5060)))
        );
        assert_eq!(
            socket_address("[::1]", Some(5060)).map(|address| address.port()),
            Ok(5060)
        );
        assert!(
            socket_address("localhost:8080", None).is_err_and(|error| error.contains("127.0.0.1"))
        );
    }
}
