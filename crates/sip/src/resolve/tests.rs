use super::*;

/// A little name server: names to records, in the notation of the tests below.
#[derive(Default)]
struct Zone {
    records: Vec<(Question, Vec<Record>)>,
    broken: Vec<Question>,
    asked: Vec<Question>,
}

impl Zone {
    fn with(mut self, kind: Kind, name: &str, record: Record) -> Self {
        let question = question(kind, name);
        match self
            .records
            .iter_mut()
            .find(|(known, _)| *known == question)
        {
            Some((_, records)) => records.push(record),
            None => self.records.push((question, vec![record])),
        }
        self
    }

    fn naptr(
        self,
        name: &str,
        order: u16,
        preference: u16,
        service: &str,
        replacement: &str,
    ) -> Self {
        self.with(
            Kind::Naptr,
            name,
            Record::Naptr {
                order,
                preference,
                flags: "S".into(),
                service: service.into(),
                replacement: replacement.into(),
            },
        )
    }

    fn srv(self, name: &str, priority: u16, weight: u16, port: u16, target: &str) -> Self {
        let target = target.into();
        self.with(
            Kind::Srv,
            name,
            Record::Srv {
                priority,
                weight,
                port,
                target,
            },
        )
    }

    fn a(self, name: &str, address: &str) -> Self {
        self.with(Kind::A, name, Record::A(address.parse().unwrap()))
    }

    fn aaaa(self, name: &str, address: &str) -> Self {
        self.with(Kind::Aaaa, name, Record::Aaaa(address.parse().unwrap()))
    }

    fn broken(mut self, kind: Kind, name: &str) -> Self {
        self.broken.push(question(kind, name));
        self
    }

    fn lookup(&mut self, question: &Question) -> Result<Vec<Record>, LookupError> {
        self.asked.push(question.clone());
        if self.broken.contains(question) {
            return Err(LookupError::Timeout);
        }
        let found = self.records.iter().find(|(known, _)| known == question);
        found
            .map(|(_, records)| records.clone())
            .ok_or(LookupError::NotFound)
    }

    fn resolve(&mut self, target: Target) -> Step {
        self.resolve_seeded(target, 1)
    }

    fn resolve_seeded(&mut self, target: Target, seed: u64) -> Step {
        let (mut resolution, mut step) = Resolution::start(target, &mut Random::new(seed));
        while let Step::Lookup(question) = step {
            assert!(self.asked.len() < LOOKUPS_MAX, "asks without end");
            let result = self.lookup(&question);
            step = resolution.answer(&question, result);
        }
        step
    }
}

fn question(kind: Kind, name: &str) -> Question {
    Question {
        kind,
        name: name.into(),
    }
}

fn hops(list: &[(Transport, &str)]) -> Step {
    Step::Done(
        list.iter()
            .map(|&(transport, addr)| Hop {
                transport,
                addr: addr.parse().unwrap(),
            })
            .collect(),
    )
}

fn target(uri: &str) -> Target {
    Target::of_uri(&uri.parse().unwrap()).unwrap()
}

use Transport::{Tcp, Tls, Udp};

#[test]
fn literals_need_no_lookup() {
    for (uri, transport, addr) in [
        ("sip:192.0.2.1", Udp, "192.0.2.1:5060"),
        (
            "sip:a@[2001:db8::1]:5080;transport=tcp",
            Tcp,
            "[2001:db8::1]:5080",
        ),
        ("sips:192.0.2.1", Tls, "192.0.2.1:5061"),
        ("sips:192.0.2.1;transport=tcp", Tls, "192.0.2.1:5061"),
        ("sip:192.0.2.1;transport=TLS", Tls, "192.0.2.1:5061"),
        ("sip:example.com;maddr=192.0.2.7", Udp, "192.0.2.7:5060"),
    ] {
        let mut zone = Zone::default();
        assert_eq!(
            zone.resolve(target(uri)),
            hops(&[(transport, addr)]),
            "{uri}"
        );
        assert!(zone.asked.is_empty());
    }
    let bare = Target::host("2001:db8::1");
    assert_eq!(
        Zone::default().resolve(bare),
        hops(&[(Udp, "[2001:db8::1]:5060")])
    );
}

#[test]
fn uris_without_a_way() {
    for uri in ["tel:+1202", "sip:h;transport=sctp", "sips:h;transport=udp"] {
        assert_eq!(Target::of_uri(&uri.parse().unwrap()), None, "{uri}");
    }
}

#[test]
fn naptr_leads_to_srv_leads_to_addresses() {
    let mut zone = Zone::default()
        .naptr("example.com", 50, 50, "SIPS+D2T", "_sips._tcp.example.com.")
        .naptr("example.com", 100, 50, "SIP+D2U", "_sip._udp.example.com.")
        .naptr("example.com", 90, 50, "SIP+D2T", "_sip._tcp.example.com.")
        .naptr("example.com", 1, 1, "E2U+email", "mail.example.com.")
        .srv("_sips._tcp.example.com", 0, 1, 5061, "S1.example.com.")
        .srv("_sip._tcp.example.com", 0, 1, 5070, "s2.example.com.")
        .srv("_sip._udp.example.com", 0, 1, 5080, "s1.example.com.")
        .a("s1.example.com", "192.0.2.1")
        .aaaa("s1.example.com", "2001:db8::1")
        .a("s2.example.com", "192.0.2.2");
    let expected = hops(&[
        (Tls, "192.0.2.1:5061"),
        (Tls, "[2001:db8::1]:5061"),
        (Tcp, "192.0.2.2:5070"),
        (Udp, "192.0.2.1:5080"),
        (Udp, "[2001:db8::1]:5080"),
    ]);
    assert_eq!(zone.resolve(Target::host("Example.com.")), expected);
    // s1 stands in two SRV records and is asked for once.
    assert_eq!(zone.asked.len(), 1 + 3 + 2 + 2);
}

#[test]
fn without_naptr_every_transport_is_tried() {
    let mut zone = Zone::default()
        .srv("_sip._tcp.example.com", 0, 1, 5070, "s.example.com")
        .aaaa("s.example.com", "2001:db8::7");
    assert_eq!(
        zone.resolve(Target::host("example.com")),
        hops(&[(Tcp, "[2001:db8::7]:5070")])
    );
}

#[test]
fn without_srv_the_host_is_the_server() {
    let mut zone = Zone::default().a("example.com", "192.0.2.3");
    assert_eq!(
        zone.resolve(Target::host("example.com")),
        hops(&[(Udp, "192.0.2.3:5060")])
    );
    assert_eq!(
        zone.resolve(target("sip:example.com;transport=tcp")),
        hops(&[(Tcp, "192.0.2.3:5060")])
    );
    assert_eq!(
        zone.resolve(target("sips:example.com")),
        hops(&[(Tls, "192.0.2.3:5061")])
    );
}

#[test]
fn a_decided_transport_asks_no_naptr_and_a_port_no_srv() {
    let mut zone = Zone::default()
        .srv("_sip._tcp.example.com", 0, 1, 5070, "192.0.2.4")
        .a("example.com", "192.0.2.3");
    assert_eq!(
        zone.resolve(target("sip:example.com;transport=tcp")),
        hops(&[(Tcp, "192.0.2.4:5070")])
    );
    assert_eq!(zone.asked, [question(Kind::Srv, "_sip._tcp.example.com")]);
    zone.asked.clear();
    assert_eq!(
        zone.resolve(target("sip:example.com:5090")),
        hops(&[(Udp, "192.0.2.3:5090")])
    );
    assert_eq!(
        zone.asked,
        [
            question(Kind::A, "example.com"),
            question(Kind::Aaaa, "example.com")
        ]
    );
}

#[test]
fn priorities_come_before_weights_and_weights_decide_the_share() {
    let mut zone = Zone::default()
        .srv("_sip._udp.h", 20, 100, 1, "192.0.2.9")
        .srv("_sip._udp.h", 10, 75, 1, "192.0.2.1")
        .srv("_sip._udp.h", 10, 25, 1, "192.0.2.2")
        .srv("_sip._udp.h", 10, 0, 1, "192.0.2.3");
    let mut first = [0u32; 4];
    for seed in 0..2000 {
        zone.asked.clear();
        let Step::Done(hops) = zone.resolve_seeded(target("sip:h;transport=udp"), seed) else {
            panic!("no hops");
        };
        assert_eq!(hops.len(), 4);
        assert_eq!(hops[3].addr.to_string(), "192.0.2.9:1");
        let IpAddr::V4(address) = hops[0].addr.ip() else {
            panic!("IPv6")
        };
        first[usize::from(address.octets()[3]) % 4] += 1;
    }
    assert!((1400..1600).contains(&first[1]), "{first:?}");
    assert!((400..600).contains(&first[2]), "{first:?}");
    assert!(first[3] < 60, "{first:?}");
}

#[test]
fn failures_are_told_apart() {
    assert_eq!(
        Zone::default().resolve(Target::host("nowhere.invalid")),
        Step::Failed(ResolveError::NoAddress)
    );
    for host in ["", "a b", "x\r\ny", "_"] {
        let step = Zone::default().resolve(Target::host(host));
        assert!(matches!(step, Step::Failed(_)), "{host}");
    }
    let mut broken = Zone::default().broken(Kind::A, "h");
    assert_eq!(
        broken.resolve(Target::host("h")),
        Step::Failed(ResolveError::LookupFailed)
    );
    let mut none = Zone::default()
        .srv("_sip._udp.h", 0, 0, 0, ".")
        .a("h", "192.0.2.1");
    assert_eq!(
        none.resolve(Target::host("h")),
        Step::Failed(ResolveError::NotOffered)
    );
    // A failing NAPTR server does not hide a host that has an address.
    let mut partly = Zone::default().broken(Kind::Naptr, "h").a("h", "192.0.2.1");
    assert_eq!(
        partly.resolve(Target::host("h")),
        hops(&[(Udp, "192.0.2.1:5060")])
    );
}

#[test]
fn answers_to_other_questions_change_nothing() {
    let (mut resolution, step) = Resolution::start(target("sip:h:5060"), &mut Random::new(1));
    assert_eq!(step, Step::Lookup(question(Kind::A, "h")));
    let other = question(Kind::A, "elsewhere");
    assert_eq!(
        resolution.answer(&other, Ok(vec![Record::A([6, 6, 6, 6].into())])),
        step
    );
    let wrong_kind = vec![Record::Aaaa(Ipv6Addr::LOCALHOST)];
    assert_eq!(
        resolution.answer(&question(Kind::A, "h"), Ok(wrong_kind)),
        Step::Lookup(question(Kind::Aaaa, "h"))
    );
    assert_eq!(
        resolution.answer(&question(Kind::Aaaa, "h"), Err(LookupError::NotFound)),
        Step::Failed(ResolveError::NoAddress)
    );
}

#[test]
fn hops_and_lookups_are_bounded() {
    let mut zone = Zone::default();
    for index in 0..100 {
        zone = zone.srv("_sip._udp.h", index, 1, 5060, &format!("s{index}.h"));
        for host in 0..5 {
            zone = zone.a(
                &format!("s{index}.h"),
                &format!("192.0.2.{}", u32::from(index) * 5 % 250 + host),
            );
        }
    }
    let Step::Done(hops) = zone.resolve(target("sip:h;transport=udp")) else {
        panic!("no hops");
    };
    assert_eq!(hops.len(), HOPS_MAX);

    let mut endless = Zone::default();
    for index in 0..60 {
        endless = endless.naptr("h", index, 0, "SIP+D2U", &format!("n{index}.h"));
    }
    assert_eq!(
        endless.resolve(Target::host("h")),
        Step::Failed(ResolveError::NoAddress)
    );
    assert_eq!(endless.asked.len(), LOOKUPS_MAX);
}
