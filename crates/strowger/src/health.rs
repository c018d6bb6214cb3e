//! `/healthz`: whether each part of the switch does its work.

/// Whether each part of the switch does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    /// New calls are taken.
    pub(crate) sip: Result<(), String>,
    /// Requests are answered.
    pub(crate) http: bool,
    /// Records can be read and written.
    pub(crate) store: bool,
    /// Calls that are up.
    pub(crate) active_calls: u64,
}

impl Health {
    /// All parts do.
    pub(crate) fn is_ready(&self) -> bool {
        self.sip.is_ok() && self.http && self.store
    }

    /// The parts that do not, in words.
    pub(crate) fn missing(&self) -> String {
        let mut missing = Vec::new();
        if let Err(why) = &self.sip {
            missing.push(format!("SIP: {why}"));
        }
        if !self.http {
            missing.push("HTTP: the server has ended".into());
        }
        if !self.store {
            missing.push("store: records cannot be read and written".into());
        }
        missing.join("; ")
    }

    /// The body of `/healthz`.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "status": if self.is_ready() { "ready" } else { "not ready" },
            "sip": self.sip.is_ok(),
            "http": self.http,
            "store": self.store,
            "active-calls": self.active_calls,
            "missing": self.missing(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_missing_part_is_enough_to_be_not_ready() {
        let well = Health {
            sip: Ok(()),
            http: true,
            store: true,
            active_calls: 3,
        };
        assert!(well.is_ready());
        let ill = Health {
            sip: Err("draining".into()),
            ..well
        };
        assert!(!ill.is_ready());
        assert_eq!(ill.missing(), "SIP: draining");
        assert_eq!(ill.json()["status"], "not ready");
    }
}
