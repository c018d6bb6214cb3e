//! The call detail record: what an attempt was, whom it met, and how it ended.
//!
//! One record per call attempt, answered or not. Times are milliseconds since the Unix epoch, UTC.
//! The switch fills it in while the call runs and hands it out once, when the last leg and the last
//! relay are gone; nothing changes afterwards.

use serde::{Deserialize, Serialize};

/// Everything worth keeping of one call attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cdr {
    /// Our own identifier of the call, unique across restarts.
    pub id: String,
    /// The domain the call belongs to; `*` when both sides are system-wide connections.
    pub domain: String,
    /// When the INVITE reached us.
    pub started_ms: i64,
    /// When the called side first rang or sent early media.
    pub ringing_ms: Option<i64>,
    /// When the called side answered.
    pub answered_ms: Option<i64>,
    /// When the last leg was over.
    pub ended_ms: i64,
    /// The leg that entered the switch.
    pub orig: CdrLeg,
    /// The leg that left it; absent when the call was refused before anyone was called.
    pub term: Option<CdrLeg>,
    /// The dial plan and rule that decided, as `plan/rule id`.
    pub dial_rule: Option<String>,
    /// Which side ended the call.
    pub release_side: ReleaseSide,
    /// SIP status that ended an unanswered call, 200 for an answered one.
    pub release_status: u16,
    /// Q.850 cause, when the releasing side gave one or the status maps to one.
    pub release_cause: Option<u8>,
    /// The reason in words, such as `Orig: Bye` or `Connection limit`.
    pub release_text: String,
    /// Shortest duration that is billed for an answered call, from the called connection.
    pub minimum_call_duration_seconds: u32,
    /// What passed through the relay; absent when the media did not pass us.
    pub media: Option<CdrMedia>,
    /// The recording of the call; absent when none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<CdrRecording>,
    /// Why the call went where it went: one line per decision, in order.
    pub decisions: Vec<String>,
}

/// Bytes that one text of a record keeps; what a peer writes beyond is cut off.
pub const MAX_TEXT_BYTES: usize = 512;

/// Lines of decisions that a record keeps.
pub const MAX_DECISIONS: usize = 64;

impl Cdr {
    /// Cuts every text to [`MAX_TEXT_BYTES`], so that no peer decides how large a record is: anybody may
    /// send an INVITE of sixty kilobytes, and every attempt is recorded.
    pub fn clip(&mut self) {
        for leg in [Some(&mut self.orig), self.term.as_mut()]
            .into_iter()
            .flatten()
        {
            clip(&mut leg.call_id);
            clip(&mut leg.from_uri);
            clip(&mut leg.to_uri);
            clip(&mut leg.request_uri);
            leg.from_name.iter_mut().for_each(clip);
        }
        clip(&mut self.release_text);
        if let Some(failure) = self.recording.as_mut().and_then(|it| it.failure.as_mut()) {
            clip(failure);
        }
        self.decisions.truncate(MAX_DECISIONS);
        self.decisions.iter_mut().for_each(clip);
    }

    /// Milliseconds from answer to end; zero for an unanswered call.
    pub fn talk_ms(&self) -> i64 {
        self.answered_ms.map_or(0, |at| (self.ended_ms - at).max(0))
    }

    /// Milliseconds to bill: the talk time, but never less than the connection's minimum.
    pub fn billable_ms(&self) -> i64 {
        match self.answered_ms {
            Some(_) => self
                .talk_ms()
                .max(i64::from(self.minimum_call_duration_seconds) * 1000),
            None => 0,
        }
    }
}

fn clip(text: &mut String) {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.shrink_to_fit();
    }
}

/// One side of the call as the wire saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CdrLeg {
    /// Domain of the connection this leg used.
    pub connection_domain: Option<String>,
    /// Orig match pattern of the connection this leg used; with the domain, its key.
    pub connection_orig_match_pattern: Option<String>,
    /// The user this leg is booked to, as `user@domain`: the linked billing user of its connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_user: Option<String>,
    /// Call-ID of the leg's dialog.
    pub call_id: String,
    /// Far address, as `address:port`.
    pub remote: Option<String>,
    /// `UDP`, `TCP` or `TLS`.
    pub transport: String,
    /// Caller on this leg, as a URI. On the orig leg before translation, on the term leg after it.
    pub from_uri: String,
    /// Caller's display name on this leg.
    pub from_name: Option<String>,
    /// Called party in the To header of this leg.
    pub to_uri: String,
    /// Request-URI of this leg's INVITE.
    pub request_uri: String,
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseSide {
    /// The leg that called in.
    Orig,
    /// The leg we called.
    Term,
    /// The switch itself: a refusal, a timeout, a shutdown.
    Switch,
}

impl ReleaseSide {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orig => "orig",
            Self::Term => "term",
            Self::Switch => "switch",
        }
    }
}

/// Media that passed the relay, by the side it came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CdrMedia {
    /// Received from the orig side.
    pub from_orig: CdrStream,
    /// Received from the term side.
    pub from_term: CdrStream,
}

/// Counters of one direction.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CdrStream {
    /// RTP packets received and forwarded.
    pub packets: u64,
    /// Bytes of those packets, RTP header included.
    pub bytes: u64,
    /// Packets missing by sequence number (RFC 3550 appendix A.3).
    pub lost: u64,
    /// Interarrival jitter in microseconds (RFC 3550 appendix A.8).
    pub jitter_us: u32,
    /// Packets refused because they came from a source that was not the leg's.
    pub refused: u64,
    /// What the media of this side were sealed with, both ways: how the keys were agreed on (`SDES`, `DTLS`) and the
    /// crypto suite; absent for RTP in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// The codec this side spoke, by the last answer, as `name/clock rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// Packets that were decoded and encoded anew, because the other side has another codec.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub transcoded: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What there is of a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CdrRecording {
    /// The file, relative to the data folder; absent when there is none.
    pub path: Option<String>,
    /// Whose it is, as `user@domain`.
    pub owner: String,
    /// How much is in the file, in milliseconds.
    pub duration_ms: u64,
    /// Why there is no file, or why it is not all of the call; absent when it is.
    pub failure: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_decides_how_large_a_record_is() {
        let long = "ä".repeat(30_000);
        let leg = CdrLeg {
            call_id: long.clone(),
            from_uri: long.clone(),
            from_name: Some(long.clone()),
            to_uri: long.clone(),
            request_uri: "sip:short@host".to_owned(),
            ..CdrLeg::default()
        };
        let mut cdr = Cdr {
            id: "1".to_owned(),
            domain: "acme".to_owned(),
            started_ms: 0,
            ringing_ms: None,
            answered_ms: None,
            ended_ms: 0,
            orig: leg.clone(),
            term: Some(leg),
            dial_rule: None,
            release_side: ReleaseSide::Switch,
            release_status: 403,
            release_cause: None,
            release_text: long.clone(),
            minimum_call_duration_seconds: 0,
            media: None,
            recording: Some(CdrRecording {
                failure: Some(long.clone()),
                ..CdrRecording::default()
            }),
            decisions: vec![long; 100],
        };
        cdr.clip();
        assert_eq!(cdr.orig.from_uri.len(), MAX_TEXT_BYTES);
        assert_eq!(cdr.orig.request_uri, "sip:short@host");
        assert_eq!(cdr.decisions.len(), MAX_DECISIONS);
        let bytes = serde_json::to_string(&cdr).expect("a record is JSON").len();
        assert!(
            bytes < 13 * MAX_TEXT_BYTES + MAX_DECISIONS * (MAX_TEXT_BYTES + 4),
            "{bytes}"
        );
    }
}
