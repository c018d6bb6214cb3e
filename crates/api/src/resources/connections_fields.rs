//! The fields of a connection, with what each does to a call.

use model::{
    AudioRelay, DestinationFrom, EncryptedAudio, MatchingHeader, RemoteRingback, SipTransport,
    SystemSwitch, Words,
};

use crate::checks;
use crate::table::{Body, Field, Kind};

use super::common::{DOMAIN_OWNER, SYNCHRONOUS};

/// Longest duration that can be enforced, in seconds.
const MAX_MINIMUM_DURATION_SECONDS: i64 = 86_400;
const YES_IS_DEFAULT_IP: &[(&str, &str)] = &[("yes", "default-ip")];

/// The key.
pub(super) const KEY: &[Field] = &[
    Field::text(
        "connection-orig-match-pattern",
        "Recognises calls from the peer: held against the URI chosen by connection-check-orig-matching-sip-header. \
         Names the connection within its domain and cannot change.",
    )
    .example("sip*@acme-pbx")
    .check(checks::match_pattern),
    DOMAIN_OWNER,
];

/// Everything that can be set beside the key.
pub(super) const SETTINGS: &[Field] = &[
    Field::text("description", "A label for people."),
    Field::text(
        "connection-term-match-pattern",
        "Destinations that leave through this connection. On create, left out means: the same as the orig pattern.",
    )
    .example("sip:*@a.carrier.example")
    .check(checks::optional_match_pattern),
    Field::words(
        "connection-audio-relay-enabled",
        AudioRelay::WORDS,
        "Whether RTP passes the relay: yes always, optional only where the other leg or a feature needs it, \
         no only where the switch itself ends the media.",
    )
    .default("yes"),
    Field::text(
        "connection-address",
        "Where the peer is: host, host:port, [IPv6]:port or a SIP URI. Empty: the peer registers with the switch.",
    )
    .example("192.0.2.20:5060")
    .check(checks::peer_address),
    Field::text(
        "dial-plan",
        "Plan that translates calls from the peer; looked up in the connection's domain, then among the \
         system-wide plans. Empty: the domain's own plan.",
    )
    .length(0, 128),
    Field::text("dial-policy", "Policy that outside calls from the peer must pass. Empty or Permit All: no restriction.")
        .example("Permit All")
        .length(0, 128),
    Field::integer("limits-max-active-calls-orig", 0, "Calls the peer may have up towards us; 0 for no limit.").default("0"),
    Field::integer("limits-max-active-calls-term", 0, "Calls we may have up towards the peer; 0 for no limit.").default("0"),
    Field::integer("limits-max-active-calls-total", 0, "Calls in both directions together; 0 for no limit.").default("0"),
    Field::text(
        "connection-linked-billing-user",
        "User the call records are booked to. domain, or empty, stands for the tenant itself.",
    )
    .example("domain"),
    Field::text(
        "connection-sip-registration-username",
        "Digest user name: the peer's, or ours towards the peer when connection-sip-authenticate-as-client-enabled is yes.",
    ),
    Field::text(
        "connection-sip-registration-password",
        "Digest password. Shown only when a single connection is read with a key that may change it.",
    )
    .secret(),
    Field::text(
        "connection-sip-registration-realm",
        "Digest realm. Empty: towards the peer any realm is accepted, from the peer one is derived from the pattern.",
    ),
    Field::yes_no("connection-orig-enabled", "Whether calls from the peer are taken.").default("yes"),
    Field::yes_no("connection-term-enabled", "Whether calls are sent to the peer.").default("yes"),
    Field::text(
        "connection-translation-request-host",
        "Host written into the Request-URI towards the peer. Empty: the host of the address.",
    )
    .default(""),
    Field::text(
        "connection-translation-destination-host",
        "Host written into To towards the peer. Empty: that of the Request-URI.",
    )
    .default("")
    .example("[*]"),
    Field::text(
        "connection-translation-request-user",
        "User written into the Request-URI towards the peer; [*] stands for what the dial rule left.",
    )
    .default("")
    .example("+[*]"),
    Field::text("connection-translation-destination-user", "User written into To towards the peer.")
        .default("")
        .example("[*]"),
    Field::text("connection-translation-source-user", "User written into From towards the peer, and the default of the asserted identity.")
        .default("")
        .example("+[*]"),
    Field::yes_no(
        "connection-source-ip-checking-enabled",
        "Whether calls must come from an address of connection-address, or of the peer's registration.",
    )
    .default("no"),
    Field::yes_no(
        "connection-include-server-header-enabled",
        "Whether Server and User-Agent tell the peer which software this is.",
    )
    .default("no"),
    Field::words(
        "connection-relay-comfort-noise-enabled",
        SystemSwitch::WORDS,
        "Whether the relay sends comfort noise into silence, so that NAT bindings and media timers of the peer survive.",
    )
    .default("system-default"),
    Field::yes_no("connection-pcmu-only-enabled", "Whether PCMU and telephone-event are all that is negotiated with the peer.")
        .default("no"),
    Field::yes_no(
        "connection-enforce-minimum-duration-enabled",
        "Whether an answered call to the peer is kept up until the minimum duration is reached.",
    )
    .default("no"),
    Field::yes_no(
        "connection-bind-to-alternate-interface-enabled",
        "Whether signalling and RTP use the second address of the switch; refused where none is configured.",
    )
    .default("no"),
    Field::yes_no("connection-block-video-in-sdp-enabled", "Whether video is taken out of offers and answers.").default("no"),
    Field::words(
        "connection-sip-get-new-dialog-destination-from",
        DestinationFrom::WORDS,
        "Where a new request to a registered peer goes: where its REGISTER came from, its Contact, or its Via.",
    )
    .value_aliases(YES_IS_DEFAULT_IP)
    .default("default-ip"),
    Field::words(
        "connection-sip-get-response-destination-from",
        DestinationFrom::WORDS,
        "Where responses to the peer go: where the request came from, its Contact, or its Via.",
    )
    .value_aliases(YES_IS_DEFAULT_IP)
    .default("default-ip"),
    Field::words(
        "connection-require-encrypted-audio-enabled",
        EncryptedAudio::WORDS,
        "SRTP towards the peer: yes demands it, optional offers it beside plain RTP, no does not offer it.",
    )
    .default("no"),
    Field::words("connection-sip-transport-protocol", SipTransport::WORDS, "Transport of requests we send to the peer.")
        .default("UDP"),
    Field::words(
        "connection-check-orig-matching-sip-header",
        MatchingHeader::WORDS,
        "Which URI of an INVITE the orig pattern is held against.",
    )
    .default("from"),
    Field::words("connection-sip-session-timer-enabled", SystemSwitch::WORDS, "Session timers of RFC 4028 on calls with the peer.")
        .default("system-default"),
    Field::yes_no(
        "connection-prevent-rtp-port-change-enabled",
        "Whether our RTP address towards the peer stays the same for the whole leg.",
    )
    .default("no"),
    Field::yes_no(
        "connection-hide-post-dial-delay-with-ringback-enabled",
        "Whether the caller hears ringing as soon as the INVITE to the peer is out.",
    )
    .default("no"),
    Field::words(
        "connection-remote-ringback-handling",
        RemoteRingback::WORDS,
        "What becomes of the peer's ringing: allowed passes its early media on, local-only lets the caller make its \
         own tone, no-ringback passes nothing on before the answer.",
    )
    .default("allowed"),
    Field::yes_no("connection-block-media-in-sip-180-ringing", "Whether SDP is taken out of 180 responses.").default("no"),
    Field::yes_no(
        "connection-allow-mid-call-uri-updates-enabled",
        "Whether the peer is told of a new connected party during a call (RFC 4916).",
    )
    .default("no"),
    Field::yes_no("connection-record-all-calls-enabled", "Whether every answered call through the peer is recorded.").default("no"),
    Field::text(
        "connection-custom-p-asserted-id-format",
        "Identity header towards the peer: passerted, rpid, none, a URI template with [*] or tokens, or a fixed number.",
    )
    .example("passerted"),
    Field::yes_no("connection-require-sip-authentication-enabled", "Whether the peer is challenged for its digest credentials.")
        .default("no"),
    Field::text(
        "connection-translation-source-host",
        "Host written into From towards the peer. Empty: the switch's signalling address.",
    ),
    Field::text("utc-offset", "Hours from UTC; when a time zone is set this follows from it.")
        .example("-7")
        .check(checks::optional_utc_offset),
    Field::text("time-zone", "Zone in which day and time conditions of dial rules are read for calls from the peer.")
        .example("US/Pacific")
        .check(checks::optional_time_zone),
    Field::new(
        "minimum-call-duration-seconds",
        Kind::Integer { min: 0, max: MAX_MINIMUM_DURATION_SECONDS },
        "Least billed duration of an answered call to the peer.",
    )
    .aliases(&["minimum-call-duration-second"])
    .default("0"),
    Field::text(
        "connection-sip-registration-expires-datetime",
        "When the registration ends, in UTC. Writing a past moment ends that of the peer at once; a later one, where the connection has no address, moves its end.",
    )
    .example("2030-01-31 12:00:00")
    .check(checks::optional_datetime),
    Field::yes_no(
        "connection-sip-authenticate-as-client-enabled",
        "Whether the digest credentials are ours, to answer the peer's challenges and to register with it.",
    )
    .default("no"),
    Field::yes_no(
        "connection-is-carrier-trunk",
        "Whether the peer is the public network: its calls count as outside calls and its asserted identity is trusted.",
    )
    .default("no"),
    Field::new("call-routing", Kind::Ignored, "Has no meaning; taken and always null.").nullable(),
    Field::text(
        "connection-system-a-assisted-id-format",
        "Misspelled twin of connection-custom-p-asserted-id-format; kept and returned, without effect.",
    )
    .nullable(),
];

/// What the switch fills in.
pub(super) const LIVE: &[Field] = &[
    Field::integer(
        "active-calls-max-last-month",
        0,
        "Most calls at one time in the month before.",
    )
    .read_only(),
    Field::integer(
        "active-calls-max-this-month",
        0,
        "Most calls at one time in this month.",
    )
    .read_only(),
    Field::integer(
        "active-calls-orig-current",
        0,
        "Calls from the peer that are up now.",
    )
    .read_only(),
    Field::integer(
        "active-calls-orig-since-startup",
        0,
        "Calls from the peer since the switch started.",
    )
    .read_only(),
    Field::integer(
        "active-calls-term-current",
        0,
        "Calls to the peer that are up now.",
    )
    .read_only(),
    Field::integer(
        "active-calls-term-since-startup",
        0,
        "Calls to the peer since the switch started.",
    )
    .read_only(),
    Field::text(
        "connection-sip-registration-datetime",
        "When the last registration succeeded, in UTC, of the peer with us or of ours with the carrier.",
    )
    .read_only(),
    Field::text(
        "last-modified-datetime",
        "When the record was last written, in UTC.",
    )
    .read_only(),
];

/// What is returned.
pub(super) const RECORD: Body = Body {
    schema: "Connection",
    fields: &[KEY, SETTINGS, LIVE],
    required: &["connection-orig-match-pattern", "domain"],
};

/// Body of a create.
pub const CREATE: Body = Body {
    schema: "ConnectionCreate",
    fields: &[KEY, SETTINGS, LIVE, SYNCHRONOUS],
    required: &["connection-orig-match-pattern", "domain"],
};

/// Body of a change: everything is optional, the key may be repeated but not changed.
pub const UPDATE: Body = Body {
    schema: "ConnectionUpdate",
    fields: &[KEY, SETTINGS, LIVE, SYNCHRONOUS],
    required: &[],
};
