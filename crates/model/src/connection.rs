//! A connection: one SIP peer that is not a user's phone, such as a carrier, a gateway or a PBX.
//!
//! "Orig" and "term" are seen from the switch: orig calls come from the peer, term calls go to it.

use crate::secret::Secret;
use crate::wire::{self, Unsupported};
use crate::words::words;
use serde::{Deserialize, Serialize};

/// What identifies a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConnectionKey {
    /// The tenant, or `*` for a system-wide connection.
    pub domain: String,
    /// The pattern that recognises calls from the peer.
    pub connection_orig_match_pattern: String,
}

/// The record. Field for field the contract's; empty text means "not set".
///
/// [`Connection::default`] holds the contract's defaults. The live counters and the two read-only
/// dates are never taken from a client: counters are filled in when a record is shown, the dates by
/// the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Connection {
    /// Half of the key: the pattern that recognises calls from the peer.
    pub connection_orig_match_pattern: String,
    /// Other half of the key: the tenant, or `*` for a system-wide connection.
    pub domain: String,
    /// Text for people.
    pub description: String,
    /// The pattern of destinations that leave through this connection; on create, empty means the
    /// orig pattern.
    pub connection_term_match_pattern: String,
    /// Whether RTP passes the relay.
    pub connection_audio_relay_enabled: AudioRelay,
    /// `host`, `host:port` or a SIP URI; empty means the peer registers with us.
    pub connection_address: String,
    /// The dial plan that translates calls from the peer.
    pub dial_plan: String,
    /// The permission table for offnet calls from the peer; empty permits all.
    pub dial_policy: String,
    /// Most calls at once from the peer; 0 is unlimited.
    #[serde(with = "wire::count")]
    pub limits_max_active_calls_orig: u32,
    /// Most calls at once to the peer; 0 is unlimited.
    #[serde(with = "wire::count")]
    pub limits_max_active_calls_term: u32,
    /// Most calls at once both ways; 0 is unlimited.
    #[serde(with = "wire::count")]
    pub limits_max_active_calls_total: u32,
    /// The user that pays: `domain`, `1000` or `1000@d1`; empty means `domain`.
    pub connection_linked_billing_user: String,
    /// Digest user name, the peer's or ours (see `connection_sip_authenticate_as_client_enabled`).
    pub connection_sip_registration_username: String,
    /// Digest password.
    pub connection_sip_registration_password: Secret,
    /// Digest realm; empty lets the switch choose or accept one.
    pub connection_sip_registration_realm: String,
    /// Whether calls from the peer are taken.
    #[serde(with = "wire::yes_no")]
    pub connection_orig_enabled: bool,
    /// Whether calls are sent to the peer.
    #[serde(with = "wire::yes_no")]
    pub connection_term_enabled: bool,
    /// Host of the Request-URI towards the peer.
    pub connection_translation_request_host: String,
    /// Host of the To URI towards the peer.
    pub connection_translation_destination_host: String,
    /// User of the Request-URI towards the peer.
    pub connection_translation_request_user: String,
    /// User of the To URI towards the peer.
    pub connection_translation_destination_user: String,
    /// User of the From URI towards the peer.
    pub connection_translation_source_user: String,
    /// Whether the source address of calls must be one of `connection_address`.
    #[serde(with = "wire::yes_no")]
    pub connection_source_ip_checking_enabled: bool,
    /// Whether `Server` and `User-Agent` name our software to the peer.
    #[serde(with = "wire::yes_no")]
    pub connection_include_server_header_enabled: bool,
    /// Whether the relay fills silence with comfort noise.
    pub connection_relay_comfort_noise_enabled: SystemSwitch,
    /// Whether only PCMU and telephone-event are negotiated.
    #[serde(with = "wire::yes_no")]
    pub connection_pcmu_only_enabled: bool,
    /// Whether answered calls to the peer are kept up for the minimum duration.
    #[serde(with = "wire::yes_no")]
    pub connection_enforce_minimum_duration_enabled: bool,
    /// Whether the second configured address of the switch is used.
    #[serde(with = "wire::yes_no")]
    pub connection_bind_to_alternate_interface_enabled: bool,
    /// Whether video is taken out of SDP.
    #[serde(with = "wire::yes_no")]
    pub connection_block_video_in_sdp_enabled: bool,
    /// Where a new request to a peer that registered goes.
    pub connection_sip_get_new_dialog_destination_from: DestinationFrom,
    /// Where responses to the peer go.
    pub connection_sip_get_response_destination_from: DestinationFrom,
    /// Whether SRTP is offered or required.
    pub connection_require_encrypted_audio_enabled: EncryptedAudio,
    /// Transport of requests that we start.
    pub connection_sip_transport_protocol: SipTransport,
    /// Which URI of an INVITE the orig pattern is tested against.
    pub connection_check_orig_matching_sip_header: MatchingHeader,
    /// Session timers (RFC 4028).
    pub connection_sip_session_timer_enabled: SystemSwitch,
    /// Whether our RTP address stays the same for the life of a leg.
    #[serde(with = "wire::yes_no")]
    pub connection_prevent_rtp_port_change_enabled: bool,
    /// Whether the caller hears ringing before the peer says so.
    #[serde(with = "wire::yes_no")]
    pub connection_hide_post_dial_delay_with_ringback_enabled: bool,
    /// What happens to the peer's ringing and early media.
    pub connection_remote_ringback_handling: RemoteRingback,
    /// Whether SDP is taken out of a 180.
    #[serde(with = "wire::yes_no")]
    #[serde(rename = "connection-block-media-in-sip-180-ringing")]
    pub connection_block_media_in_sip_180_ringing: bool,
    /// Whether the peer is told of a new identity during a call (RFC 4916).
    #[serde(with = "wire::yes_no")]
    pub connection_allow_mid_call_uri_updates_enabled: bool,
    /// Whether every answered call is recorded.
    #[serde(with = "wire::yes_no")]
    pub connection_record_all_calls_enabled: bool,
    /// What identity header is written: `passerted`, `rpid`, `none`, a template or a number.
    pub connection_custom_p_asserted_id_format: String,
    /// Whether the peer is challenged.
    #[serde(with = "wire::yes_no")]
    pub connection_require_sip_authentication_enabled: bool,
    /// Host of the From URI towards the peer.
    pub connection_translation_source_host: String,
    /// Hours from UTC, as text; recomputed from `time_zone` where that is set.
    #[serde(with = "wire::text")]
    pub utc_offset: String,
    /// Zone for the day and time conditions of dial rules.
    pub time_zone: String,
    /// Shortest billed duration of an answered call to the peer.
    #[serde(with = "wire::count", alias = "minimum-call-duration-second")]
    pub minimum_call_duration_seconds: u32,
    /// When the peer's registration ends, `YYYY-MM-DD HH:MM:SS` UTC; empty when there is none.
    pub connection_sip_registration_expires_datetime: String,
    /// Whether the credentials are ours, shown to the peer.
    #[serde(with = "wire::yes_no")]
    pub connection_sip_authenticate_as_client_enabled: bool,
    /// Whether the peer is the public network.
    #[serde(with = "wire::yes_no")]
    pub connection_is_carrier_trunk: bool,
    /// Not supported by the contract's own version: accepted, ignored, shown as null.
    pub call_routing: Unsupported,
    /// A garbled twin of `connection_custom_p_asserted_id_format` that some clients send: kept and
    /// shown, without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_system_a_assisted_id_format: Option<String>,
    /// Most calls at once in the previous month. Read only, live.
    #[serde(skip_deserializing)]
    pub active_calls_max_last_month: u32,
    /// Most calls at once in this month. Read only, live.
    #[serde(skip_deserializing)]
    pub active_calls_max_this_month: u32,
    /// Calls from the peer that are up. Read only, live.
    #[serde(skip_deserializing)]
    pub active_calls_orig_current: u32,
    /// Calls from the peer since the switch started. Read only, live.
    #[serde(skip_deserializing)]
    pub active_calls_orig_since_startup: u64,
    /// Calls to the peer that are up. Read only, live.
    #[serde(skip_deserializing)]
    pub active_calls_term_current: u32,
    /// Calls to the peer since the switch started. Read only, live.
    #[serde(skip_deserializing)]
    pub active_calls_term_since_startup: u64,
    /// When the last registration succeeded, UTC; empty when there was none. Read only.
    pub connection_sip_registration_datetime: String,
    /// When the record was last written, UTC. Read only, set by the store.
    pub last_modified_datetime: String,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            connection_orig_match_pattern: String::new(),
            domain: String::new(),
            description: String::new(),
            connection_term_match_pattern: String::new(),
            connection_audio_relay_enabled: AudioRelay::Automatic,
            connection_address: String::new(),
            dial_plan: String::new(),
            dial_policy: String::new(),
            limits_max_active_calls_orig: 0,
            limits_max_active_calls_term: 0,
            limits_max_active_calls_total: 0,
            connection_linked_billing_user: String::new(),
            connection_sip_registration_username: String::new(),
            connection_sip_registration_password: Secret::default(),
            connection_sip_registration_realm: String::new(),
            connection_orig_enabled: true,
            connection_term_enabled: true,
            connection_translation_request_host: String::new(),
            connection_translation_destination_host: String::new(),
            connection_translation_request_user: String::new(),
            connection_translation_destination_user: String::new(),
            connection_translation_source_user: String::new(),
            connection_source_ip_checking_enabled: false,
            connection_include_server_header_enabled: false,
            connection_relay_comfort_noise_enabled: SystemSwitch::SystemDefault,
            connection_pcmu_only_enabled: false,
            connection_enforce_minimum_duration_enabled: false,
            connection_bind_to_alternate_interface_enabled: false,
            connection_block_video_in_sdp_enabled: false,
            connection_sip_get_new_dialog_destination_from: DestinationFrom::DefaultIp,
            connection_sip_get_response_destination_from: DestinationFrom::DefaultIp,
            connection_require_encrypted_audio_enabled: EncryptedAudio::No,
            connection_sip_transport_protocol: SipTransport::Udp,
            connection_check_orig_matching_sip_header: MatchingHeader::From,
            connection_sip_session_timer_enabled: SystemSwitch::SystemDefault,
            connection_prevent_rtp_port_change_enabled: false,
            connection_hide_post_dial_delay_with_ringback_enabled: false,
            connection_remote_ringback_handling: RemoteRingback::Allowed,
            connection_block_media_in_sip_180_ringing: false,
            connection_allow_mid_call_uri_updates_enabled: false,
            connection_record_all_calls_enabled: false,
            connection_custom_p_asserted_id_format: String::new(),
            connection_require_sip_authentication_enabled: false,
            connection_translation_source_host: String::new(),
            utc_offset: String::new(),
            time_zone: String::new(),
            minimum_call_duration_seconds: 0,
            connection_sip_registration_expires_datetime: String::new(),
            connection_sip_authenticate_as_client_enabled: false,
            connection_is_carrier_trunk: false,
            call_routing: Unsupported,
            connection_system_a_assisted_id_format: None,
            active_calls_max_last_month: 0,
            active_calls_max_this_month: 0,
            active_calls_orig_current: 0,
            active_calls_orig_since_startup: 0,
            active_calls_term_current: 0,
            active_calls_term_since_startup: 0,
            connection_sip_registration_datetime: String::new(),
            last_modified_datetime: String::new(),
        }
    }
}

impl Connection {
    /// Fields that hold a password: never in a list, a log or an audit line.
    pub const SECRET_FIELDS: &'static [&'static str] = &["connection-sip-registration-password"];

    /// The key of this record.
    pub fn key(&self) -> ConnectionKey {
        ConnectionKey {
            domain: self.domain.clone(),
            connection_orig_match_pattern: self.connection_orig_match_pattern.clone(),
        }
    }

    /// The term pattern, or the orig pattern where none was given.
    pub fn effective_term_pattern(&self) -> &str {
        if self.connection_term_match_pattern.is_empty() {
            &self.connection_orig_match_pattern
        } else {
            &self.connection_term_match_pattern
        }
    }

    /// The user that pays, `domain` where none was given.
    pub fn effective_billing_user(&self) -> &str {
        match self.connection_linked_billing_user.as_str() {
            "" => "domain",
            user => user,
        }
    }

    /// The limits in the form the live counters take.
    pub fn limits(&self) -> crate::counters::CallLimits {
        crate::counters::CallLimits {
            orig: self.limits_max_active_calls_orig,
            term: self.limits_max_active_calls_term,
            total: self.limits_max_active_calls_total,
        }
    }
}

words! {
    /// Whether RTP of a connection passes the relay.
    pub enum AudioRelay {
        /// Always.
        Automatic = "yes",
        /// Only when the other leg or a feature needs it.
        None = "optional",
        /// Only when the switch itself ends the media.
        Never = "no",
    }
}

words! {
    /// A switch that can be left to the system.
    pub enum SystemSwitch {
        /// On.
        Yes = "yes",
        /// Off.
        No = "no",
        /// As the system is configured.
        SystemDefault = "system-default",
    }
}

words! {
    /// Where the address of a far end is taken from.
    pub enum DestinationFrom {
        /// The static address, or where the last message came from. `yes` stands in old samples.
        DefaultIp = "default-ip" | "yes",
        /// The Contact header.
        ContactHeader = "contact-header",
        /// The sent-by of the top Via.
        ViaHeader = "via-header",
    }
}

words! {
    /// Whether SRTP is used.
    pub enum EncryptedAudio {
        /// Not offered by us; answered where the peer offers it.
        No = "no",
        /// Offered beside plain RTP.
        Optional = "optional",
        /// Plain RTP is refused.
        Yes = "yes",
    }
}

words! {
    /// Transport of the requests we start.
    pub enum SipTransport {
        /// Datagrams.
        Udp = "UDP",
        /// A stream.
        Tcp = "TCP",
        /// An encrypted stream.
        Tls = "TLS",
    }
}

words! {
    /// Which URI of an INVITE is tested against the orig pattern.
    pub enum MatchingHeader {
        /// The From URI.
        From = "from",
        /// The To URI.
        To = "to",
        /// The Request-URI.
        Request = "request",
        /// The Contact URI.
        Contact = "contact",
    }
}

words! {
    /// What happens to ringing and early media of a called peer.
    pub enum RemoteRingback {
        /// Passed on.
        Allowed = "allowed",
        /// Early media is dropped, the caller makes its own tone.
        LocalOnly = "local-only",
        /// Nothing is passed on before the answer.
        NoRingback = "no-ringback",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_almost_empty_body_gets_the_contract_defaults() {
        let body = json!({"domain": "d1", "connection-orig-match-pattern": "sip*@acme-pbx"});
        let connection: Connection = serde_json::from_value(body).unwrap();
        assert!(connection.connection_orig_enabled && connection.connection_term_enabled);
        assert_eq!(
            connection.connection_sip_transport_protocol,
            SipTransport::Udp
        );
        assert_eq!(connection.effective_term_pattern(), "sip*@acme-pbx");
        assert_eq!(connection.effective_billing_user(), "domain");
    }

    #[test]
    fn generous_forms_are_read_and_one_form_is_written() {
        let connection: Connection = serde_json::from_value(json!({
            "limits-max-active-calls-orig": "7",
            "minimum-call-duration-second": "1",
            "connection-orig-enabled": 0,
            "connection-is-carrier-trunk": true,
            "connection-sip-transport-protocol": "tcp",
            "connection-sip-get-new-dialog-destination-from": "yes",
            "connection-block-media-in-sip-180-ringing": "YES",
            "utc-offset": -7,
            "call-routing": {"any": ["thing"]},
            "active-calls-orig-current": 99,
            "unknown": 1,
        }))
        .unwrap();
        let json = serde_json::to_value(&connection).unwrap();
        assert_eq!(json["limits-max-active-calls-orig"], 7);
        assert_eq!(json["minimum-call-duration-seconds"], 1);
        assert_eq!(json["connection-orig-enabled"], "no");
        assert_eq!(json["connection-is-carrier-trunk"], "yes");
        assert_eq!(json["connection-sip-transport-protocol"], "TCP");
        assert_eq!(
            json["connection-sip-get-new-dialog-destination-from"],
            "default-ip"
        );
        assert_eq!(json["connection-block-media-in-sip-180-ringing"], "yes");
        assert_eq!(json["utc-offset"], "-7");
        assert!(json["call-routing"].is_null());
        assert_eq!(json["active-calls-orig-current"], 0);
        let again: Connection = serde_json::from_value(json).unwrap();
        assert_eq!(again, connection);
    }

    #[test]
    fn a_wrong_word_names_the_right_ones() {
        let error = serde_json::from_value::<Connection>(
            json!({"connection-require-encrypted-audio-enabled": "maybe"}),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "`maybe` is not one of no, optional, yes");
        let negative = json!({"limits-max-active-calls-term": -1});
        assert!(serde_json::from_value::<Connection>(negative).is_err());
    }

    #[test]
    fn debug_shows_no_password() {
        let connection = Connection {
            connection_sip_registration_password: "hunter2".into(),
            ..Connection::default()
        };
        assert!(!format!("{connection:?}").contains("hunter2"));
        let json = serde_json::to_value(&connection).unwrap();
        assert!(
            Connection::SECRET_FIELDS
                .iter()
                .all(|field| json.get(field).is_some())
        );
    }
}
