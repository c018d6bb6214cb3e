//! `strowger healthz`: the readiness probe for container engines, which need no curl in the image then.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::Failure;
use crate::config::SettingFlags;
use crate::terminal::say;

/// Pause between two tries while waiting.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// A switch that needs longer than this to answer is not healthy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Options of `strowger healthz`.
#[derive(Args)]
pub(crate) struct Options {
    /// Keep asking for this long before giving up
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Asks `/healthz` where the settings say the switch listens.
///
/// # Errors
/// The switch does not answer, or says that it is not ready.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let mut address = options.settings.load()?.http;
    if address.ip().is_unspecified() {
        // Whoever listens everywhere listens here too.
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_TIMEOUT))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let url = format!("http://{address}/healthz");
    let give_up = Instant::now() + Duration::from_secs(options.wait);
    loop {
        let problem = match agent.get(&url).call() {
            Ok(mut response) if response.status() == 200 => {
                say!(
                    "{}",
                    response
                        .body_mut()
                        .read_to_string()
                        .unwrap_or_default()
                        .trim_end()
                );
                return Ok(ExitCode::SUCCESS);
            }
            Ok(mut response) => format!(
                "answered {}: {}",
                response.status(),
                response
                    .body_mut()
                    .read_to_string()
                    .unwrap_or_default()
                    .trim_end()
            ),
            Err(error) => format!("does not answer: {error}"),
        };
        if Instant::now() >= give_up {
            return Err(Failure::new(format!("{url} {problem}")));
        }
        std::thread::sleep(RETRY_PAUSE);
    }
}
