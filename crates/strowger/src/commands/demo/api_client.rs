//! The demo's way into its switch: the same HTTP that everybody uses, one printed line per request.

use std::net::SocketAddr;

use serde_json::Value;

use crate::commands::Failure;
use crate::terminal::{Paint, say};

/// Columns for the path of a request.
const PATH_COLUMNS: usize = 38;
/// Columns for what it is for.
const PURPOSE_COLUMNS: usize = 47;

/// A caller of one switch's API with one key.
pub(crate) struct ApiClient {
    agent: ureq::Agent,
    base: String,
    authorization: String,
    paint: Paint,
}

impl ApiClient {
    /// For the switch at this address.
    pub(crate) fn new(http: SocketAddr, key: &str, paint: Paint) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        Self {
            agent,
            base: format!("http://{http}/ns-api/v2"),
            authorization: format!("Bearer {key}"),
            paint,
        }
    }

    /// Sends one request and prints it, with what it is for and its answer.
    ///
    /// # Errors
    /// The switch cannot be reached, or says no; then with what it says.
    pub(crate) fn post(&self, path: &str, purpose: &str, body: &Value) -> Result<(), Failure> {
        let mut answer = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("Authorization", &self.authorization)
            .send_json(body)
            .map_err(|error| Failure::new(format!("POST {path} failed: {error}.")))?;
        let status = answer.status();
        let colour = if status.is_success() {
            Paint::green
        } else {
            Paint::red
        };
        say!(
            "  {} {path:PATH_COLUMNS$} {purpose:PURPOSE_COLUMNS$} {}",
            self.paint.cyan("POST"),
            colour(self.paint, status.as_str())
        );
        if !status.is_success() {
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            return Err(Failure::new(format!(
                "POST {path} was answered {status}: {text}"
            )));
        }
        Ok(())
    }
}
