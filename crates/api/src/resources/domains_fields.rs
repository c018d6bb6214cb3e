//! The fields of a domain.

use model::{DomainType, RecordingConfiguration, Scope, TranscriptionVendor, Words};

use crate::checks;
use crate::table::{Body, Field, Kind};

use super::common::SYNCHRONOUS;
use super::time_zones::TIME_ZONES;

/// Field of a tenant that the one who sells to it decides.
const fn cap(name: &'static str, description: &'static str) -> Field {
    Field::integer(name, 0, description).least(Scope::Reseller)
}

const KEY: &[Field] = &[Field::text(
    "domain",
    "Name of the tenant: part of its users' addresses. It cannot change.",
)
.pattern("^[A-Za-z0-9._-]+|\\*")
.length(1, 64)
.example("example.com")
.check(checks::domain_name)];

const SETTINGS: &[Field] = &[
    Field::text(
        "reseller",
        "Whom the tenant belongs to; ~ for the reseller of the key.",
    )
    .length(1, 64)
    .least(Scope::Reseller),
    Field::text("description", "A label for people."),
    Field::yes_no("music-on-hold-enabled", "Whether held parties hear music.").default("yes"),
    Field::yes_no(
        "music-on-ring-enabled",
        "Whether callers hear music in place of a ringing tone.",
    )
    .default("no"),
    Field::yes_no(
        "music-on-hold-randomized-enabled",
        "Whether the music begins at a random place.",
    )
    .default("no"),
    Field::words(
        "domain-type",
        DomainType::WORDS,
        "What kind of customer this is.",
    )
    .default("Standard"),
    Field::text(
        "dial-plan",
        "Plan that new users get. Empty: the plan named like the domain, which is made with it.",
    )
    .length(0, 128),
    Field::text("dial-policy", "Policy that new users get.")
        .length(0, 128)
        .least(Scope::Reseller),
    Field::text(
        "email-send-from-address",
        "Sender address of mail about this tenant.",
    )
    .length(0, 254),
    Field::yes_no(
        "single-sign-on-enabled",
        "Whether users may log in through another identity provider.",
    )
    .default("no"),
    Field::new(
        "area-code",
        Kind::Integer { min: 100, max: 999 },
        "Put before numbers of seven digits that users dial.",
    )
    .example("858"),
    Field::text(
        "caller-id-name",
        "Name shown to the outside when a user has none.",
    ),
    Field::new(
        "caller-id-number",
        Kind::Digits,
        "Number shown to the outside when a user has none.",
    )
    .length(0, 64),
    Field::new(
        "caller-id-number-emergency",
        Kind::Digits,
        "Number shown on emergency calls when a user has none.",
    )
    .length(0, 64),
    cap(
        "limits-max-subcriber-resources-total",
        "Most users, with those that queues and attendants need; 0 for no limit.",
    ),
    cap(
        "limits-max-active-calls-total",
        "Most calls up at once, inside ones counted too; 0 for no limit.",
    ),
    cap(
        "limits-max-active-calls-offnet",
        "Most calls up at once that come from or go to a carrier; 0 for no limit.",
    ),
    cap(
        "limits-max-call-queues",
        "Most call queues; 0 for no limit.",
    ),
    cap(
        "limits-max-auto-attendants",
        "Most attendants; 0 for no limit.",
    ),
    cap(
        "limits-max-conferences",
        "Most conference bridges; 0 for no limit.",
    ),
    cap(
        "limits-max-departments",
        "Most departments; 0 for no limit.",
    ),
    cap("limits-max-users", "Most people; 0 for no limit."),
    cap("limits-max-sites", "Most sites; 0 for no limit."),
    cap(
        "limits-max-fax-accounts",
        "Most fax accounts; 0 for no limit.",
    ),
    Field::new(
        "time-zone",
        Kind::OpenWords(TIME_ZONES),
        "Zone of the tenant, for day and time conditions.",
    )
    .example("US/Pacific")
    .check(checks::optional_time_zone),
    Field::text(
        "email-send-smtp-hostname",
        "Mail server of the tenant; empty for that of the reseller or the system.",
    )
    .nullable(),
    Field::text("email-send-smtp-port", "Port of that mail server.")
        .nullable()
        .length(0, 5),
    Field::text("email-send-smtp-username", "User name at that mail server.").nullable(),
    Field::text(
        "email-send-smtp-password",
        "Password at that mail server. Shown only to those who may set it.",
    )
    .nullable()
    .secret(),
    Field::text(
        "emergency-address-id",
        "Address given to emergency services for this tenant.",
    )
    .nullable(),
    Field::yes_no("voicemail-enabled", "Whether users have mailboxes.").default("yes"),
    Field::words(
        "recording-configuration",
        RecordingConfiguration::WORDS,
        "Whether calls are recorded, and what is made of the recordings.",
    )
    .default("no"),
    Field::words(
        "voicemail-transcription-enabled",
        TranscriptionVendor::WORDS,
        "Service that turns voicemail into text.",
    )
    .default("no"),
    Field::text("language-token", "Language of prompts and portal.")
        .default("en_US")
        .length(0, 16)
        .aliases(&["language"]),
    Field::yes_no(
        "is-domain-locked",
        "Whether the calls of the tenant are refused, except those to emergency numbers.",
    )
    .default("no")
    .least(Scope::Reseller),
    Field::yes_no(
        "is-stir-enabled",
        "Whether calls are signed and their signatures checked.",
    )
    .default("no")
    .least(Scope::Reseller),
    Field::yes_no(
        "is-ivr-forward-change-blocked",
        "Whether forwarding cannot be changed by voice menu.",
    )
    .default("no"),
];

const LIVE: &[Field] = &[
    Field::integer("active-calls-total-current", 0, "Calls up now.").read_only(),
    Field::integer(
        "active-calls-against-license-count",
        0,
        "Calls up now as a licence would count them.",
    )
    .read_only(),
    Field::integer(
        "active-calls-offnet-current",
        0,
        "Calls with the outside up now.",
    )
    .read_only(),
    Field::integer(
        "count-subcriber-resources-total",
        0,
        "Users, with those that queues and attendants need.",
    )
    .read_only(),
];

/// What is returned.
pub(super) const RECORD: Body = Body {
    schema: "Domain",
    fields: &[KEY, SETTINGS, LIVE],
    required: &["domain", "reseller", "description"],
};

/// Body of a create.
pub const CREATE: Body = Body {
    schema: "DomainCreate",
    fields: &[SYNCHRONOUS, KEY, SETTINGS, LIVE],
    required: &["domain", "reseller"],
};

/// Body of a change.
pub(super) const UPDATE: Body = Body {
    schema: "DomainUpdate",
    fields: &[KEY, SETTINGS, LIVE],
    required: &[],
};
