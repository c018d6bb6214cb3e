//! `strowger demo`: a switch, two phones and one call, drawn while it happens.
//!
//! The switch is the one that `serve` starts, on free ports and in a folder that goes away. It is set up through its
//! own HTTP API, and the phones reach it through real sockets, so nothing here is staged.

mod api_client;
mod phones;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use model::Cdr;
use serde_json::json;

use self::api_client::ApiClient;
use self::phones::{CallResult, Phones};
use super::{Failure, cdr_text, explain_text};
use crate::config::SettingFlags;
use crate::ladder::{Ladder, WIDTH};
use crate::logging;
use crate::node::Node;
use crate::settings::Config;
use crate::terminal::{Paint, say};
use crate::wav;

/// How long the two talk.
const TALK: Duration = Duration::from_millis(3_000);
/// How long the called phone rings before it is picked up.
const RING: Duration = Duration::from_millis(800);
/// Ports for media: one call takes four, and as many again make room for chance.
const RTP_PORTS: u16 = 8;
/// Tries at finding ports that nobody uses.
const PORT_TRIES: usize = 50;
/// The record is written behind the call, not in it; this is how long we wait for it.
const RECORD_PATIENCE: Duration = Duration::from_secs(3);

/// What the caller plays: a chord's root.
const CALLER_TONE_HZ: f32 = 440.0;
/// What the called side plays: the fifth above it.
const CALLED_TONE_HZ: f32 = 660.0;
/// Of G.711.
const SAMPLES_PER_SECOND: u32 = 8_000;
/// A tone that went through G.711 keeps nearly all its power at its pitch.
const TONE_SHARE_MIN: f32 = 0.8;
/// What Ann dials; the rule makes a number of it.
const DIALLED: &str = "sip:0100@demo";

/// Options of `strowger demo`.
#[derive(Args)]
pub(crate) struct Options {
    /// Write what the two phones heard to a WAV file: the caller left, the called side right
    #[arg(long, value_name = "FILE.wav")]
    play: Option<PathBuf>,
    /// Show the switch's own log lines between the rungs
    #[arg(long)]
    verbose: bool,
}

/// Shows one call from an empty switch to its record.
///
/// # Errors
/// Something in the chain did not work; the sentence says what.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let paint = Paint::for_stdout();
    let title = paint.bold("Strowger demo");
    say!(
        "\n  {title}  {}\n",
        paint.dim("a switch, two phones, one call; nothing is staged and nothing is kept")
    );

    let no_folder = |error| Failure::new(format!("No temporary folder: {error}."));
    let folder = tempfile::Builder::new()
        .prefix("strowger-demo-")
        .tempdir()
        .map_err(no_folder)?;
    let config = config(folder.path())?;
    if options.verbose {
        logging::start(&config);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let node = runtime.block_on(Node::start(&config))?;
    let (sip, key) = node
        .sip()
        .first()
        .zip(node.first_key())
        .ok_or_else(|| Failure::new("the switch has no door"))?;
    let (first, last) = node.rtp_ports();
    say!(
        "  {} API {}   SIP {sip}   RTP {first}-{last}\n",
        paint.green("started"),
        node.http()
    );

    let mut phones = Phones::bind(*sip, RING)?;
    set_up(&ApiClient::new(node.http(), key, paint), &phones)?;

    let mut trace = runtime.block_on(node.trace())?;
    let ladder = Ladder { paint };
    say!(
        "\n{}",
        ladder.head(["Ann's PBX", "Strowger", "Ben's carrier"])
    );
    say!("{}", ladder.rung());
    let result = phones.call(DIALLED, TALK, ladder, &mut trace)?;
    say!("{}\n", ladder.rung());

    let heard = tell_what_was_heard(&result, paint);
    tell_record(
        &runtime.block_on(node.first_record(RECORD_PATIENCE))?,
        paint,
    );
    if let Some(path) = &options.play {
        let shown = path.display();
        wav::write_stereo(path, &result.heard_by_caller, &result.heard_by_called)
            .map_err(|error| Failure::new(format!("{shown} cannot be written: {error}.")))?;
        say!(
            "\n  What they heard is in {}.",
            paint.bold(&shown.to_string())
        );
    }
    runtime.block_on(node.stop(Duration::ZERO))?;
    say!(
        "\n  {} {}\n",
        paint.green("stopped"),
        paint.dim("and cleaned up. Your own: strowger serve")
    );
    Ok(if heard {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A switch on free ports of this machine alone, with its data in a folder that goes away.
fn config(folder: &Path) -> Result<Config, Failure> {
    let rtp_first = free_rtp_range()?;
    let settings = [
        ("data", folder.join("data").display().to_string()),
        // Port 0: any that is free.
        ("http", "127.0.0.1:0".into()),
        ("sip", "127.0.0.1:0".into()),
        (
            "rtp_ports",
            format!("{rtp_first}-{}", rtp_first + RTP_PORTS - 1),
        ),
        ("shards", "1".into()),
    ];
    let given = settings
        .into_iter()
        .map(|(name, text)| (name, vec![text]))
        .collect();
    Ok(SettingFlags::typed(given).load_alone()?)
}

/// A domain, a trunk for each phone, and a rule from one to the other.
fn set_up(api: &ApiClient, phones: &Phones) -> Result<(), Failure> {
    let domain = json!({ "synchronous": "yes", "domain": "demo", "reseller": "demo", "description": "One call" });
    api.post(
        "/domains",
        "a customer, with a dial plan of the same name",
        &domain,
    )?;
    let trunks = [
        ("Ann's PBX", "ann-pbx", phones.caller_sip(), "ann.test"),
        (
            "Ben's carrier",
            "ben-carrier",
            phones.called_sip(),
            "ben.test",
        ),
    ];
    for (owner, name, address, host) in trunks {
        let connection = json!({
            "domain": "demo",
            "connection-orig-match-pattern": format!("sip*@{name}"),
            "connection-address": address.to_string(),
            "connection-translation-request-host": host,
            "dial-plan": "demo",
        });
        api.post(
            "/connections",
            &format!("{owner}: @{name} at {address}"),
            &connection,
        )?;
    }
    let rule = json!({
        "synchronous": "yes",
        "dial-rule-matching-to-uri": "sip:????@*",
        "dial-rule-application": "to-connection",
        "dial-rule-translation-destination-user": "1310555[*]",
        "dial-rule-translation-destination-host": "ben-carrier",
    });
    api.post(
        "/domains/demo/dialplans/demo/dialrules",
        "four digits: 1310555 before, to @ben-carrier",
        &rule,
    )
}

/// Says whether each side heard the tone of the other; `false` when one did not.
fn tell_what_was_heard(result: &CallResult, paint: Paint) -> bool {
    let sides = [
        (
            "Ann",
            CALLED_TONE_HZ,
            &result.heard_by_caller,
            result.packets_to_caller,
        ),
        (
            "Ben",
            CALLER_TONE_HZ,
            &result.heard_by_called,
            result.packets_to_called,
        ),
    ];
    let mut all = true;
    for (name, tone_hz, heard, packets) in sides {
        if media::tone::tone_share(middle(heard), tone_hz, SAMPLES_PER_SECOND) > TONE_SHARE_MIN {
            say!(
                "  {} {name} heard {tone_hz:.0} Hz in {packets} RTP packets through the relay",
                paint.green("✓")
            );
        } else {
            say!(
                "  {} {name} did not hear {tone_hz:.0} Hz in {packets} RTP packets",
                paint.red("✗")
            );
            all = false;
        }
    }
    all
}

/// Prints the record of the call, and before it the decisions that it remembers.
fn tell_record(record: &Cdr, paint: Paint) {
    say!("\n  {}", paint.bold("Why it went there"));
    for (index, decision) in record.decisions.iter().enumerate() {
        // The record behind each step follows in brackets; `strowger explain` shows it.
        let text = decision
            .rsplit_once(" [")
            .map_or(decision.as_str(), |(text, _)| text);
        for (row, line) in explain_text::wrap(text, WIDTH - 8).iter().enumerate() {
            let number = if row == 0 {
                format!("{}.", index + 1)
            } else {
                String::new()
            };
            say!("    {} {line}", paint.dim(&format!("{number:2}")));
        }
    }
    say!("\n  {}", paint.bold("Its record"));
    for line in cdr_text::render(record, paint).lines() {
        say!("    {line}");
    }
}

/// Half a second from the middle: away from the edges, and short enough that a lost packet is no other pitch.
fn middle(samples: &[i16]) -> &[i16] {
    let from = samples.len() / 2;
    &samples[from..samples.len().min(from + SAMPLES_PER_SECOND as usize / 2)]
}

/// The first of [`RTP_PORTS`] free UDP ports in a row, an even one.
fn free_rtp_range() -> Result<u16, Failure> {
    let any = IpAddr::from(Ipv4Addr::LOCALHOST);
    for _ in 0..PORT_TRIES {
        let port = UdpSocket::bind((any, 0))?.local_addr()?.port() & !1;
        let all_free = port
            .checked_add(RTP_PORTS)
            .is_some_and(|end| (port..end).all(|port| UdpSocket::bind((any, port)).is_ok()));
        if all_free {
            return Ok(port);
        }
    }
    Err(Failure::new(format!(
        "No {RTP_PORTS} UDP ports in a row are free."
    )))
}
