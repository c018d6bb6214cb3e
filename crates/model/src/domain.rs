//! A domain: the customer organisation that owns users and calls.

use crate::secret::Secret;
use crate::wire;
use crate::words::words;
use serde::{Deserialize, Serialize};

/// The owner of records that belong to the system and not to a tenant.
pub const SYSTEM_DOMAIN: &str = "*";

/// The record. Field for field the contract's; a limit of 0 is unlimited.
///
/// The live counts are never taken from a client: they are filled in when a record is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Domain {
    /// The key: the tenant's name.
    pub domain: String,
    /// The reseller that owns the tenant.
    pub reseller: String,
    /// Text for people.
    pub description: String,
    /// Whether held parties hear music.
    #[serde(with = "wire::yes_no")]
    pub music_on_hold_enabled: bool,
    /// Whether callers hear music instead of ringing.
    #[serde(with = "wire::yes_no")]
    pub music_on_ring_enabled: bool,
    /// Whether music starts at a random place.
    #[serde(with = "wire::yes_no")]
    pub music_on_hold_randomized_enabled: bool,
    /// The kind of tenant.
    pub domain_type: DomainType,
    /// Plan of new users; on create, empty means the plan named like the domain.
    pub dial_plan: String,
    /// Permission table of new users.
    pub dial_policy: String,
    /// Sender address of e-mail.
    pub email_send_from_address: String,
    /// Whether single sign-on is offered.
    #[serde(with = "wire::yes_no")]
    pub single_sign_on_enabled: bool,
    /// Area code put before seven-digit numbers, 100 to 999.
    #[serde(
        with = "wire::optional_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub area_code: Option<u16>,
    /// Name shown on calls that leave the domain.
    pub caller_id_name: String,
    /// Number shown on calls that leave the domain.
    #[serde(with = "wire::text")]
    pub caller_id_number: String,
    /// Number shown on emergency calls.
    #[serde(with = "wire::text")]
    pub caller_id_number_emergency: String,
    /// Most subscribers, system users included. (The contract spells it so.)
    #[serde(with = "wire::count")]
    pub limits_max_subcriber_resources_total: u32,
    /// Most calls at once, internal ones included.
    #[serde(with = "wire::count")]
    pub limits_max_active_calls_total: u32,
    /// Most calls at once with the outside.
    #[serde(with = "wire::count")]
    pub limits_max_active_calls_offnet: u32,
    /// Most call queues.
    #[serde(with = "wire::count")]
    pub limits_max_call_queues: u32,
    /// Most auto attendants.
    #[serde(with = "wire::count")]
    pub limits_max_auto_attendants: u32,
    /// Most conference bridges.
    #[serde(with = "wire::count")]
    pub limits_max_conferences: u32,
    /// Most departments.
    #[serde(with = "wire::count")]
    pub limits_max_departments: u32,
    /// Most users.
    #[serde(with = "wire::count")]
    pub limits_max_users: u32,
    /// Most sites.
    #[serde(with = "wire::count")]
    pub limits_max_sites: u32,
    /// Most fax accounts.
    #[serde(with = "wire::count")]
    pub limits_max_fax_accounts: u32,
    /// Zone of the tenant; empty means the system's.
    pub time_zone: String,
    /// Mail server; absent means the reseller's or the system's.
    pub email_send_smtp_hostname: Option<String>,
    /// Port of the mail server.
    #[serde(with = "wire::optional_text")]
    pub email_send_smtp_port: Option<String>,
    /// User at the mail server.
    pub email_send_smtp_username: Option<String>,
    /// Password at the mail server.
    pub email_send_smtp_password: Option<Secret>,
    /// Calls that are up. Read only, live.
    #[serde(skip_deserializing)]
    pub active_calls_total_current: u32,
    /// Calls that are up, as a licence counts them. Read only, live.
    #[serde(skip_deserializing)]
    pub active_calls_against_license_count: u32,
    /// Calls with the outside that are up. Read only, live.
    #[serde(skip_deserializing)]
    pub active_calls_offnet_current: u32,
    /// Subscribers, system users included. Read only, live. (The contract spells it so.)
    #[serde(skip_deserializing)]
    pub count_subcriber_resources_total: u32,
    /// Address given on emergency calls.
    #[serde(with = "wire::optional_text")]
    pub emergency_address_id: Option<String>,
    /// Whether users have voicemail.
    #[serde(with = "wire::yes_no")]
    pub voicemail_enabled: bool,
    /// Whether calls are recorded.
    pub recording_configuration: RecordingConfiguration,
    /// Who turns voicemail into text.
    pub voicemail_transcription_enabled: TranscriptionVendor,
    /// Language of the portal and of prompts.
    #[serde(alias = "language")]
    pub language_token: String,
    /// Whether the calls of the tenant are refused, except those to emergency numbers.
    #[serde(with = "wire::yes_no")]
    pub is_domain_locked: bool,
    /// Whether calls are signed and verified.
    #[serde(with = "wire::yes_no")]
    pub is_stir_enabled: bool,
    /// Whether forwarding cannot be changed from a voice menu.
    #[serde(with = "wire::yes_no")]
    pub is_ivr_forward_change_blocked: bool,
}

impl Default for Domain {
    fn default() -> Self {
        Self {
            domain: String::new(),
            reseller: String::new(),
            description: String::new(),
            music_on_hold_enabled: true,
            music_on_ring_enabled: false,
            music_on_hold_randomized_enabled: false,
            domain_type: DomainType::Standard,
            dial_plan: String::new(),
            dial_policy: String::new(),
            email_send_from_address: String::new(),
            single_sign_on_enabled: false,
            area_code: None,
            caller_id_name: String::new(),
            caller_id_number: String::new(),
            caller_id_number_emergency: String::new(),
            limits_max_subcriber_resources_total: 0,
            limits_max_active_calls_total: 0,
            limits_max_active_calls_offnet: 0,
            limits_max_call_queues: 0,
            limits_max_auto_attendants: 0,
            limits_max_conferences: 0,
            limits_max_departments: 0,
            limits_max_users: 0,
            limits_max_sites: 0,
            limits_max_fax_accounts: 0,
            time_zone: String::new(),
            email_send_smtp_hostname: None,
            email_send_smtp_port: None,
            email_send_smtp_username: None,
            email_send_smtp_password: None,
            active_calls_total_current: 0,
            active_calls_against_license_count: 0,
            active_calls_offnet_current: 0,
            count_subcriber_resources_total: 0,
            emergency_address_id: None,
            voicemail_enabled: true,
            recording_configuration: RecordingConfiguration::No,
            voicemail_transcription_enabled: TranscriptionVendor::No,
            language_token: "en_US".to_owned(),
            is_domain_locked: false,
            is_stir_enabled: false,
            is_ivr_forward_change_blocked: false,
        }
    }
}

impl Domain {
    /// Fields that hold a password: never in a list, a log or an audit line.
    pub const SECRET_FIELDS: &'static [&'static str] = &["email-send-smtp-password"];

    /// The limits on calls in the form the live counters take.
    pub fn limits(&self) -> crate::counters::DomainLimits {
        crate::counters::DomainLimits {
            total: self.limits_max_active_calls_total,
            offnet: self.limits_max_active_calls_offnet,
        }
    }

    /// Plan of new users: the one named like the domain where none was given.
    pub fn effective_dial_plan(&self) -> &str {
        if self.dial_plan.is_empty() {
            &self.domain
        } else {
            &self.dial_plan
        }
    }
}

words! {
    /// The kind of tenant.
    pub enum DomainType {
        /// A business.
        Standard = "Standard",
        /// A home.
        Residential = "Residential",
        /// A hotel.
        Hospitality = "Hospitality",
    }
}

words! {
    /// Whether calls are recorded, and what is made of the recording.
    pub enum RecordingConfiguration {
        /// Not recorded.
        No = "no",
        /// Recorded.
        Yes = "yes",
        /// Recorded and turned into text.
        Transcription = "yes-with-transcription",
        /// Recorded, turned into text and rated.
        Sentiment = "yes-with-transcription-and-sentiment",
    }
}

words! {
    /// Who turns voicemail into text. Operations of the contract differ in case; it is not compared.
    pub enum TranscriptionVendor {
        /// Nobody.
        No = "no",
        /// As named.
        Deepgram = "Deepgram",
        /// As named.
        Google = "Google",
        /// As named.
        Mutare = "Mutare",
        /// As named.
        Voicebase = "Voicebase",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sample_like_body_is_read() {
        let domain: Domain = serde_json::from_value(json!({
            "synchronous": "no",
            "domain": "d1.example",
            "reseller": "r1",
            "area-code": "858",
            "caller-id-number": 8585550100u64,
            "email-send-smtp-port": 25,
            "voicemail-transcription-enabled": "google",
            "language": "es_MX",
            "active-calls-total-current": 5,
        }))
        .unwrap();
        assert_eq!(domain.area_code, Some(858));
        assert_eq!(domain.caller_id_number, "8585550100");
        assert_eq!(domain.email_send_smtp_port.as_deref(), Some("25"));
        assert_eq!(domain.language_token, "es_MX");
        assert_eq!(domain.active_calls_total_current, 0);
        assert_eq!(domain.effective_dial_plan(), "d1.example");
        let json = serde_json::to_value(&domain).unwrap();
        assert_eq!(json["area-code"], 858);
        assert_eq!(json["voicemail-transcription-enabled"], "Google");
        assert_eq!(serde_json::from_value::<Domain>(json).unwrap(), domain);
    }
}
