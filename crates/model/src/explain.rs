//! The decision path of a call, as people read it.
//!
//! The switch makes one from the same plan that a real call follows, so what it says is what happens.

use serde::{Deserialize, Serialize};

/// A call to be explained instead of placed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExplainRequest {
    /// The caller: a SIP URI, put into From.
    pub from: String,
    /// The called party: a SIP URI, put into To and the Request-URI.
    pub to: String,
    /// Orig match pattern of the connection to assume, instead of finding one by the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Address the INVITE would come from; without it the source address check is not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
}

/// The answer: steps in the order they were taken, and the outcome.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// What was decided, top to bottom.
    pub steps: Vec<ExplainedStep>,
    /// One sentence: where the call goes, or why it goes nowhere.
    pub outcome: String,
    /// SIP status the caller would get when the call goes nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_with: Option<u16>,
    /// Where the INVITE would be sent, as the resolver is asked: `host[:port]` and transport.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<String>,
    /// The request line and the headers that routing decides, as they would be written.
    pub request: Vec<String>,
}

/// One decision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExplainedStep {
    /// The stage, such as `source`, `dial rule`, `translate`, `target`, `limits`.
    pub stage: String,
    /// What came out.
    pub text: String,
    /// The record behind it, as `kind domain/key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Records that were looked at and lost, best first, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<ExplainedLoser>,
}

/// A record that did not decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExplainedLoser {
    /// The record, as `kind domain/key`.
    pub record: String,
    /// Why it lost.
    pub why: String,
}
