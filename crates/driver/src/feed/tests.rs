use std::net::{IpAddr, Ipv4Addr};

use bus::Bus;
use model::datetime::Month;
use model::{Actor, CallDirection, CallLimits, Connection, Domain};
use sip::resolve::{Kind, LookupError, Question, Record};

use super::*;
use crate::dns::{DnsCounts, Found, Resolver};
use crate::mailbox::{Mailbox, mailbox};

/// Knows one host, and a server of its service over TLS.
struct OneHost;

const HOST: &str = "edge.carrier.example";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVER: &str = "server.carrier.example";
const SERVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

impl Resolver for OneHost {
    async fn lookup(&self, question: Question) -> Found {
        let record = match (question.kind, question.name.as_str()) {
            (Kind::A, HOST) => Some(Record::A(ADDRESS)),
            (Kind::A, SERVER) => Some(Record::A(SERVER_ADDRESS)),
            (Kind::Srv, "_sips._tcp.edge.carrier.example") => Some(Record::Srv {
                priority: 1,
                weight: 1,
                port: 5071,
                target: SERVER.into(),
            }),
            _ => None,
        };
        Found {
            result: record
                .map(|record| vec![record])
                .ok_or(LookupError::NotFound),
            ttl: Duration::from_secs(60),
        }
    }
}

/// A store, a bus, and the only shard's mailbox.
struct World {
    store: Store,
    bus: Bus,
    mailbox: Mailbox<Mail>,
    counters: Arc<CounterBook>,
}

impl World {
    /// The feed is running; what it loaded first is returned.
    async fn start() -> (Self, Vec<DirectoryChange>) {
        let (sender, mailbox) = mailbox(64).expect("mailbox");
        let shards = Arc::new(Shards::new(vec![sender]));
        let dns = Dns::start(OneHost, Arc::clone(&shards), Arc::new(DnsCounts::default()));
        let (store, bus) = (Store::open_in_memory().expect("store"), Bus::local());
        let counters = Arc::new(CounterBook::default());
        let swaps = Arc::new(AtomicU64::new(0));
        let subscription = bus.subscribe().expect("subscribe");
        let mut feed = Feed::new(store.clone(), shards, dns, Arc::clone(&counters), swaps, 1);
        let loaded = feed.load().await.expect("load");
        tokio::spawn(feed.run(subscription));
        let world = Self {
            store,
            bus,
            mailbox,
            counters,
        };
        (world, loaded)
    }

    async fn write(
        &self,
        work: impl FnOnce(&mut store::Writer<'_>, &Actor) -> store::Result<()> + Send + 'static,
    ) {
        let work = move |writer: &mut store::Writer<'_>| work(writer, &Actor::system("test", 0));
        self.store.write(work).await.expect("write");
    }

    /// The next change and its acknowledgement.
    async fn change(&mut self) -> (DirectoryChange, oneshot::Sender<()>) {
        let next = async {
            loop {
                match self.mailbox.next() {
                    Some(Mail::Directory {
                        mut changes,
                        applied,
                    }) => {
                        return (changes.pop().expect("one change"), applied);
                    }
                    Some(_) => panic!("mail of another kind"),
                    None => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), next)
            .await
            .expect("no change came")
    }
}

fn trunk(address: &str) -> Connection {
    Connection {
        domain: "d1".into(),
        connection_orig_match_pattern: "sip*@carrier".into(),
        connection_address: address.into(),
        ..Connection::default()
    }
}

fn domain(name: &str) -> Domain {
    Domain {
        domain: name.into(),
        ..Domain::default()
    }
}

#[tokio::test]
async fn a_change_is_acknowledged_when_the_shard_has_applied_it_and_not_before() {
    let (mut world, loaded) = World::start().await;
    assert!(
        loaded
            .iter()
            .any(|change| matches!(change, DirectoryChange::Swap(part) if part.name == SYSTEM))
    );
    world
        .write(|writer, actor| {
            writer.insert(actor, domain("d1"))?;
            writer.insert(actor, trunk("192.0.2.9")).map(drop)
        })
        .await;
    let publishing = tokio::spawn(world.bus.publish(Change::Domain("d1".into())));
    let (change, applied) = world.change().await;
    let DirectoryChange::Swap(part) = change else {
        panic!("the domain's part is put in place");
    };
    assert_eq!((part.name.as_str(), part.connections.len()), ("d1", 1));
    assert!(!publishing.is_finished());
    applied.send(()).expect("the feed waits");
    assert_eq!(publishing.await.expect("join"), Ok(()));

    // Removing the domain takes its part away; counters of a call that is up stay.
    let key = part.connections[0].key();
    let counters = &part.connections[0].counters;
    counters
        .reserve(
            CallDirection::Orig,
            CallLimits::default(),
            Month::from_number(676),
        )
        .expect("no limit");
    world
        .write(|writer, actor| writer.delete::<Domain>(actor, &"d1".to_owned()).map(drop))
        .await;
    let publishing = tokio::spawn(world.bus.publish(Change::Domain("d1".into())));
    let (change, applied) = world.change().await;
    assert!(matches!(change, DirectoryChange::Remove(name) if name == "d1"));
    applied.send(()).expect("the feed waits");
    assert_eq!(publishing.await.expect("join"), Ok(()));
    assert_eq!(world.counters.now(&key).orig_current, 1);
}

#[tokio::test]
async fn the_host_of_a_peer_is_looked_up_before_anybody_calls() {
    let (mut world, _) = World::start().await;
    world
        .write(|writer, actor| {
            writer.insert(actor, domain("d1"))?;
            writer.insert(actor, trunk(HOST)).map(drop)
        })
        .await;
    let publishing = tokio::spawn(world.bus.publish(Change::Domain("d1".into())));
    let (_, applied) = world.change().await;
    applied.send(()).expect("the feed waits");
    let (change, applied) = world.change().await;
    let DirectoryChange::Addresses { host, addresses } = change else {
        panic!("the addresses of the host follow: {change:?}");
    };
    assert_eq!(
        (host.as_str(), &addresses[..]),
        (HOST, &[ADDRESS, SERVER_ADDRESS].map(IpAddr::from)[..]),
        "the peer may send from its servers and from the host itself"
    );
    applied.send(()).expect("the feed waits");
    assert_eq!(publishing.await.expect("join"), Ok(()));
}
