//! Headers that are lists of tokens: Allow, Require, Supported, Unsupported, Proxy-Require,
//! Privacy (with semicolons), Accept without parameters.

use crate::message::scan::{Values, trim};

/// Whether a comma- or semicolon-separated list contains `token`, in any case.
pub fn contains(list: &str, token: &str) -> bool {
    Values::new(list).any(|member| {
        member
            .split(';')
            .any(|part| trim(part).eq_ignore_ascii_case(token))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_compared_whole() {
        assert!(contains("timer, 100REL", "100rel"));
        assert!(contains("id; critical", "id"));
        assert!(!contains("100relx, x100rel", "100rel"));
        assert!(!contains("", "100rel"));
    }
}
