use std::time::Duration;

use sip::endpoint::Input;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::mailbox::{Mailbox, mailbox};
use crate::shards::Mail;

/// A table with one TCP interface, and the mailbox of the only shard.
struct World {
    flows: Flows,
    mailbox: Mailbox<Mail>,
    address: SocketAddr,
    counts: Arc<FlowCounts>,
}

impl World {
    fn new() -> Self {
        let listener = (0..).find_map(|_| {
            let free = std::net::TcpListener::bind("127.0.0.1:0")
                .expect("bind")
                .local_addr()
                .expect("local");
            Listener::bind(free).ok().map(|listener| (listener, free))
        });
        let (listener, address) = listener.expect("a free port");
        let (sender, mailbox) = mailbox(64).expect("mailbox");
        let counts = Arc::new(FlowCounts::default());
        let (flows, table) = FlowTable::new(Common {
            shards: Arc::new(Shards::new(vec![sender])),
            doors: vec![Some(StreamDoor {
                local: address,
                secure: false,
            })],
            tls: None,
            counts: Arc::clone(&counts),
            tap: Tap::default(),
        });
        tokio::spawn(listener.run(0, table.reports()));
        tokio::spawn(table.run());
        Self {
            flows,
            mailbox,
            address,
            counts,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connect")
    }

    /// The next SIP input for the shard.
    async fn input(&mut self) -> Input {
        let next = async {
            loop {
                match self.mailbox.next() {
                    Some(Mail::Sip(input)) => return input,
                    Some(_) => panic!("mail of another kind"),
                    None => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), next)
            .await
            .expect("nothing came")
    }

    async fn message(&mut self) -> (Flow, Bytes) {
        match self.input().await {
            Input::Received { flow, bytes } => (flow, bytes),
            other => panic!("not a message: {other:?}"),
        }
    }
}

fn options(call_id: &str) -> Bytes {
    let text =
        format!("OPTIONS sip:a SIP/2.0\r\nCall-ID: {call_id}\r\nContent-Length: 2\r\n\r\nhi");
    text.into()
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.expect("read");
    bytes
}

#[tokio::test]
async fn messages_in_pieces_and_in_one_piece_arrive_whole_and_answers_go_back_on_the_stream() {
    let mut world = World::new();
    let mut peer = world.connect().await;
    peer.set_nodelay(true).expect("nodelay");
    let (first, second) = (options("one"), options("two"));
    peer.write_all(&first[..10]).await.expect("write");
    peer.write_all(&[&first[10..], &second[..]].concat())
        .await
        .expect("write");
    let (flow, bytes) = world.message().await;
    assert_eq!(bytes, first);
    assert_eq!(flow.remote, peer.local_addr().expect("local"));
    assert!(flow.stream.is_some());
    assert_eq!(world.message().await, (flow, second));

    assert!(
        world
            .flows
            .send(flow, None, Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n"), 0)
    );
    assert_eq!(read(&mut peer, 18).await, b"SIP/2.0 200 OK\r\n\r\n");
}

#[tokio::test]
async fn a_ping_is_answered_by_a_pong() {
    let world = World::new();
    let mut peer = world.connect().await;
    peer.write_all(b"\r\n\r\n").await.expect("write");
    assert_eq!(read(&mut peer, 2).await, b"\r\n");
}

#[tokio::test]
async fn an_address_gets_one_stream_which_is_used_again() {
    let mut world = World::new();
    let peer = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let flow = Flow {
        interface: 0,
        remote: peer.local_addr().expect("local"),
        stream: None,
    };
    assert!(world.flows.send(flow, None, options("one"), 0));
    assert!(world.flows.send(flow, None, options("two"), 0));
    let (mut stream, _) = peer.accept().await.expect("accept");
    let expected = [options("one"), options("two")].concat();
    assert_eq!(read(&mut stream, expected.len()).await, expected);
    stream.write_all(&options("back")).await.expect("write");
    let (back, _) = world.message().await;
    assert_eq!(world.counts.connected.load(Ordering::Relaxed), 1);

    drop(stream);
    let Input::StreamClosed(id) = world.input().await else {
        panic!("the end of the stream is reported");
    };
    assert_eq!(Some(id), back.stream);
    assert!(world.flows.send(back, None, options("late"), 0));
    assert!(matches!(world.input().await, Input::SendFailed { flow } if flow == back));
}

#[tokio::test]
async fn a_peer_that_cannot_be_reached_is_reported_with_the_flow_that_was_asked_for() {
    let mut world = World::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("bind")
        .local_addr()
        .expect("local");
    let flow = Flow {
        interface: 0,
        remote: nobody,
        stream: None,
    };
    assert!(world.flows.send(flow, None, options("one"), 0));
    assert!(matches!(world.input().await, Input::SendFailed { flow: failed } if failed == flow));
}

#[tokio::test]
async fn a_stream_that_ends_before_any_answer_counts_as_not_sent() {
    let mut world = World::new();
    let peer = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let flow = Flow {
        interface: 0,
        remote: peer.local_addr().expect("local"),
        stream: None,
    };
    assert!(world.flows.send(flow, None, options("one"), 0));
    let (mut stream, _) = peer.accept().await.expect("accept");
    read(&mut stream, options("one").len()).await;
    drop(stream);
    assert!(matches!(world.input().await, Input::SendFailed { flow: failed } if failed == flow));
    assert!(matches!(world.input().await, Input::StreamClosed(_)));
}

#[tokio::test]
async fn what_is_no_sip_closes_the_stream() {
    let mut world = World::new();
    let mut peer = world.connect().await;
    peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .expect("write");
    assert!(matches!(world.input().await, Input::StreamClosed(_)));
    assert_eq!(world.counts.unframed.load(Ordering::Relaxed), 1);
    assert_eq!(peer.read(&mut [0; 16]).await.expect("the end"), 0);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_closed_and_holds_a_bounded_amount() {
    let mut world = World::new();
    let mut peer = world.connect().await;
    peer.write_all(&options("one")).await.expect("write");
    let (flow, _) = world.message().await;
    let large = Bytes::from(vec![b'x'; 60_000]);
    let mut sent = 0;
    while world.counts.overflowed.load(Ordering::Relaxed) == 0 {
        assert!(world.flows.send(flow, None, large.clone(), 0));
        sent += 1;
        assert!(sent < 1000, "nothing stops the flood");
        tokio::task::yield_now().await;
    }
    assert!(matches!(world.input().await, Input::SendFailed { flow: failed } if failed == flow));
}

#[tokio::test]
async fn one_address_gets_a_bounded_number_of_streams() {
    let world = World::new();
    let mut peers = Vec::new();
    for _ in 0..MAX_FLOWS_PER_ADDRESS {
        peers.push(world.connect().await);
    }
    let mut one_more = world.connect().await;
    assert_eq!(one_more.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert_eq!(world.counts.refused.load(Ordering::Relaxed), 1);
    assert_eq!(
        world.counts.open.load(Ordering::Relaxed),
        MAX_FLOWS_PER_ADDRESS
    );
}

/// How long, on the simulated clock, until the switch closes the stream.
async fn closed_after(peer: &mut TcpStream) -> Duration {
    let begun = tokio::time::Instant::now();
    assert_eq!(peer.read(&mut [0; 16]).await.unwrap_or(0), 0);
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_message_that_never_ends_is_not_waited_for() {
    let mut world = World::new();
    let mut peer = world.connect().await;
    peer.write_all(&options("one")[..20]).await.expect("write");
    let waited = closed_after(&mut peer).await;
    assert!(waited <= Duration::from_secs(31), "{waited:?}");
    assert!(matches!(world.input().await, Input::StreamClosed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed_after_a_while() {
    let mut world = World::new();
    let mut peer = world.connect().await;
    let silent = closed_after(&mut peer).await;
    assert!(silent <= Duration::from_secs(31), "{silent:?}");
    assert!(matches!(world.input().await, Input::StreamClosed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_we_opened_is_pinged_and_stays_while_the_peer_answers() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let flow = Flow {
        interface: 0,
        remote: listener.local_addr().expect("local"),
        stream: None,
    };
    assert!(world.flows.send(flow, None, options("ours"), 0));
    let (mut peer, _) = listener.accept().await.expect("accept");
    assert_eq!(
        read(&mut peer, options("ours").len()).await,
        options("ours")
    );
    peer.write_all(b"\r\n").await.expect("write");
    let mut last = tokio::time::Instant::now();
    let mut pings = 0;
    let mut bytes = [0; 64];
    // Longer than a stream may be silent. Two answers of the peer look like a ping, and get two bytes for it.
    while pings < 20 {
        let count = peer.read(&mut bytes).await.expect("read");
        assert!(count > 0, "closed after {pings} pings");
        if count < 4 {
            continue;
        }
        let waited = last.elapsed();
        last = tokio::time::Instant::now();
        assert!(
            waited >= Duration::from_secs(95) && waited <= Duration::from_secs(121),
            "{waited:?}"
        );
        peer.write_all(b"\r\n").await.expect("write");
        pings += 1;
    }
    // Without an answer it is closed in the end.
    while peer.read(&mut bytes).await.expect("read") > 0 {}
    let silent = last.elapsed();
    assert!(silent >= Duration::from_secs(1_700), "{silent:?}");
}
