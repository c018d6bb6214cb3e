//! Reads text as a URI, an address and a Via; what reads must print as the same.

use sip::message::{ByteStr, NameAddr, Uri, Via};

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let shared = ByteStr::copy(text);
    if let Ok(uri) = Uri::parse(&shared) {
        assert!(uri.equivalent(&uri));
        let with = uri.with_param("x", Some(text));
        assert_eq!(with.as_str().parse::<Uri>().as_ref(), Ok(&with));
        assert!(!with.as_str().contains(['\r', '\n', ' ', '<', '>']));
    }
    let built = Uri::build("sip", Some(text), text, None);
    assert_eq!(built.as_str().parse::<Uri>().as_ref(), Ok(&built));
    if let Ok(address) = NameAddr::parse(&shared) {
        let again: NameAddr = address.to_string().parse().expect("what we print");
        assert_eq!(
            (&again.uri, again.params()),
            (&address.uri, address.params())
        );
    }
    if let Some(via) = Via::parse(&shared) {
        let again = Via::parse(&via.to_string().into()).expect("what we print");
        assert_eq!((again.branch, again.port), (via.branch, via.port));
    }
}
