use std::net::Ipv4Addr;
use std::sync::Mutex;

use sip::endpoint::Input;
use sip::resolve::Kind;

use super::*;
use crate::mailbox::mailbox;

/// Answers from a table, when it is let.
#[derive(Clone)]
struct Fake {
    records: Arc<Mutex<HashMap<Question, Vec<Record>>>>,
    asked: Arc<Mutex<Vec<Question>>>,
    gate: Arc<tokio::sync::Semaphore>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            records: Arc::default(),
            asked: Arc::default(),
            gate: Arc::new(tokio::sync::Semaphore::new(0)),
        }
    }
}

impl Fake {
    fn knows(self, kind: Kind, name: &str, records: Vec<Record>) -> Self {
        self.records
            .lock()
            .expect("lock")
            .insert(question(kind, name), records);
        self
    }

    fn open(self) -> Self {
        self.gate.add_permits(1000);
        self
    }

    fn asked(&self) -> usize {
        self.asked.lock().expect("lock").len()
    }
}

impl Resolver for Fake {
    async fn lookup(&self, question: Question) -> Found {
        self.asked.lock().expect("lock").push(question.clone());
        self.gate.acquire().await.expect("the gate stays").forget();
        let known = self.records.lock().expect("lock").get(&question).cloned();
        Found {
            result: known.ok_or(LookupError::NotFound),
            ttl: Duration::from_secs(60),
        }
    }
}

fn question(kind: Kind, name: &str) -> Question {
    Question {
        kind,
        name: name.into(),
    }
}

fn start(fake: &Fake) -> (Dns, crate::mailbox::Mailbox<Mail>, Arc<DnsCounts>) {
    let (sender, mailbox) = mailbox(64).expect("mailbox");
    let counts = Arc::new(DnsCounts::default());
    let dns = Dns::start(
        fake.clone(),
        Arc::new(Shards::new(vec![sender])),
        Arc::clone(&counts),
    );
    (dns, mailbox, counts)
}

async fn answer(
    mailbox: &mut crate::mailbox::Mailbox<Mail>,
) -> (Question, Result<Vec<Record>, LookupError>) {
    let next = async {
        loop {
            match mailbox.next() {
                Some(Mail::Sip(Input::Answer { question, result })) => return (question, result),
                Some(_) => panic!("mail of another kind"),
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), next)
        .await
        .expect("nothing came")
}

#[tokio::test]
async fn one_question_on_its_way_answers_all_who_ask_and_then_the_cache_does() {
    let record = Record::A(Ipv4Addr::LOCALHOST);
    let fake = Fake::default().knows(Kind::A, "carrier.example", vec![record.clone()]);
    let (dns, mut mailbox, counts) = start(&fake);
    let asked = question(Kind::A, "carrier.example");
    for _ in 0..3 {
        assert!(dns.ask(asked.clone(), 0));
    }
    fake.gate.add_permits(1);
    for _ in 0..3 {
        assert_eq!(
            answer(&mut mailbox).await,
            (asked.clone(), Ok(vec![record.clone()]))
        );
    }
    assert!(dns.ask(asked.clone(), 0));
    assert_eq!(answer(&mut mailbox).await.1, Ok(vec![record]));
    assert_eq!(fake.asked(), 1);
    assert!(counts.hits.load(Ordering::Relaxed) >= 1);
}

#[tokio::test]
async fn what_is_not_there_is_kept_as_well() {
    let fake = Fake::default().open();
    let (dns, mut mailbox, _) = start(&fake);
    for _ in 0..2 {
        assert!(dns.ask(question(Kind::Srv, "_sip._udp.nobody.example"), 0));
        assert_eq!(answer(&mut mailbox).await.1, Err(LookupError::NotFound));
    }
    assert_eq!(fake.asked(), 1);
}

#[tokio::test]
async fn addresses_of_a_peer_come_from_srv_records_and_the_host() {
    let srv = Record::Srv {
        priority: 1,
        weight: 1,
        port: 5070,
        target: "edge.carrier.example".into(),
    };
    let (edge, host) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let fake = Fake::default()
        .knows(Kind::Srv, "_sip._udp.carrier.example", vec![srv])
        .knows(Kind::A, "edge.carrier.example", vec![Record::A(edge)])
        .knows(Kind::A, "carrier.example", vec![Record::A(host)])
        .open();
    let (dns, _mailbox, _) = start(&fake);
    let service = Target::host("carrier.example");
    let itself = Target {
        port: Some(5060),
        ..service.clone()
    };
    assert_eq!(dns.addresses(service, 1).await, [IpAddr::from(edge)]);
    assert_eq!(dns.addresses(itself, 1).await, [IpAddr::from(host)]);
    assert!(
        dns.addresses(Target::host("nobody.example"), 1)
            .await
            .is_empty()
    );
}
