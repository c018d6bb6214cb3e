//! A whole driver on loopback sockets: what a peer sees.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bus::{Answer, Bus, Question};
use driver::{Driver, DriverConfig, StartError};
use model::{ConnectionKey, ExplainRequest};
use store::{CdrFilter, Page};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use common::*;

mod common;

#[tokio::test(flavor = "multi_thread")]
async fn options_is_answered_over_udp_and_tcp() {
    let world = World::start(2, 41_000).await;
    let mut traced = world.driver.tap().listen().expect("room for a listener");
    for _ in 0..8 {
        let phone = world.phone();
        let own = phone.local_addr().expect("local");
        let options = request("OPTIONS", "sip:switch", own, "UDP", "", "");
        phone
            .send_to(options.as_bytes(), world.address)
            .expect("send");
        assert!(receive(&phone).starts_with("SIP/2.0 200 "));
    }
    let mut stream = tokio::net::TcpStream::connect(world.address)
        .await
        .expect("connect");
    let own = stream.local_addr().expect("local");
    let options = request("OPTIONS", "sip:switch", own, "TCP", "", "");
    stream.write_all(options.as_bytes()).await.expect("write");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("read");
    assert_eq!(&answer, b"SIP/2.0 200 ");

    let first = traced.recv().await.expect("a message");
    assert!(first.received && first.bytes.starts_with(b"OPTIONS"));
    let metrics = world.driver.metrics();
    assert!(
        metrics.contains("strowger_sip_messages_total{direction=\"in\",kind=\"OPTIONS\"} 9"),
        "{metrics}"
    );
    assert!(
        metrics.contains("strowger_tcp_flows_total{by=\"peer\"} 1"),
        "{metrics}"
    );
    world.driver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_told_in_one_sentence() {
    let world = World::start(1, 41_200).await;
    let config = DriverConfig {
        sip: vec![world.address],
        ..DriverConfig::default()
    };
    let again = Driver::start(config, world.store.clone(), Bus::local()).await;
    assert!(matches!(again, Err(StartError::Bind { .. })));
    world.driver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_and_draining_shows() {
    let world = World::start(2, 41_400).await;
    let Ok(Answer::Health(health)) = world.bus.ask(Question::Health).await else {
        panic!("no answer");
    };
    assert!(health.ready, "{}", health.detail);
    let key = ConnectionKey {
        domain: "*".into(),
        connection_orig_match_pattern: "sip*@nobody".into(),
    };
    let Ok(Answer::Counters(readings)) = world.bus.ask(Question::Counters(vec![key])).await else {
        panic!("no answer");
    };
    assert_eq!(readings.len(), 1);
    let question = ExplainRequest {
        from: "sip:1@nobody".into(),
        to: "sip:2@switch".into(),
        ..ExplainRequest::default()
    };
    let Ok(Answer::Explain(explanation)) = world.bus.ask(Question::Explain(question)).await else {
        panic!("no answer");
    };
    assert_eq!(explanation.refused_with, Some(403));

    world.driver.drain(30).await;
    assert!(!world.driver.health().await.ready);
    world.driver.stop().await;
}

/// A call that is up: caller and callee of the signalling, Alice and Bob of the media.
struct Call {
    caller: UdpSocket,
    callee: UdpSocket,
    alice: UdpSocket,
    bob: UdpSocket,
    /// The answer, as the caller got it.
    answered: String,
    /// The switch's ports towards Alice and Bob.
    ports: [u16; 2],
}

const CALLED: &str = "sip:13105550100@carrier";

impl Call {
    async fn up(world: &World) -> Self {
        let (caller, callee) = (world.phone(), world.phone());
        let (alice, bob) = (world.phone(), world.phone());
        let local = |socket: &UdpSocket| socket.local_addr().expect("local");
        let (from, to) = (local(&caller), local(&callee));
        let peers = vec![
            connection("acme-pbx", &from.to_string()),
            connection("carrier", &to.to_string()),
        ];
        world.insert(peers).await;

        let extra = "Content-Type: application/sdp\r\n";
        let invite = request("INVITE", CALLED, from, "UDP", extra, &sdp(local(&alice)));
        caller
            .send_to(invite.as_bytes(), world.address)
            .expect("send");
        let offered = receive_until(&callee, "INVITE ");
        let answer = sdp(local(&bob));
        let ok = format!(
            "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=t\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:callee@{to}>\r\n{extra}Content-Length: {}\r\n\r\n{answer}",
            header(&offered, "Via"),
            header(&offered, "From"),
            header(&offered, "To"),
            header(&offered, "Call-ID"),
            header(&offered, "CSeq"),
            answer.len(),
        );
        callee.send_to(ok.as_bytes(), world.address).expect("send");
        let answered = receive_until(&caller, "SIP/2.0 200 ");
        receive_until(&callee, "ACK ");
        let ports = [port_of(&answered), port_of(&offered)];
        let call = Self {
            caller,
            callee,
            alice,
            bob,
            answered,
            ports,
        };
        call.send(world, "ACK", 1);
        call
    }

    /// Sends a request of the caller within the call.
    fn send(&self, world: &World, method: &str, number: u32) {
        let from = self.caller.local_addr().expect("local");
        let contact = header(&self.answered, "Contact");
        let target = contact
            .trim_start_matches('<')
            .split('>')
            .next()
            .expect("a URI");
        let text = request(method, target, from, "UDP", "", "")
            .replace(
                &format!("To: <{target}>"),
                &format!("To: {}", header(&self.answered, "To")),
            )
            .replace(&format!("Call-ID: {method}-"), "Call-ID: INVITE-")
            .replace("CSeq: 1 ", &format!("CSeq: {number} "));
        self.caller
            .send_to(text.as_bytes(), world.address)
            .expect("send");
    }
}

fn port_of(message: &str) -> u16 {
    let line = message
        .lines()
        .find(|line| line.starts_with("m=audio "))
        .expect("a media line");
    line.split(' ')
        .nth(1)
        .expect("a port")
        .parse()
        .expect("a number")
}

async fn call_with_media_and_record(local: &str, first_port: u16) {
    let world = World::start_on(local, 2, first_port).await;
    let call = Call::up(&world).await;
    let packet = [&[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 9][..], &[0xd5; 160]].concat();
    let mut buffer = [0; 2048];
    let [towards_alice, towards_bob] = call
        .ports
        .map(|port| SocketAddr::from((world.address.ip(), port)));
    call.alice.send_to(&packet, towards_alice).expect("send");
    let (count, source) = call.bob.recv_from(&mut buffer).expect("media");
    assert_eq!((&buffer[..count], source), (&packet[..], towards_bob));
    call.bob.send_to(&packet, towards_bob).expect("send");
    let (count, source) = call.alice.recv_from(&mut buffer).expect("media");
    assert_eq!((&buffer[..count], source), (&packet[..], towards_alice));

    call.send(&world, "BYE", 2);
    receive_until(&call.callee, "BYE ");
    receive_until(&call.caller, "SIP/2.0 200 ");
    let deadline = Instant::now() + Duration::from_secs(10);
    let recorded = loop {
        let recorded = world.records().await;
        if !recorded.is_empty() {
            break recorded;
        }
        assert!(
            Instant::now() < deadline,
            "no record was written\n{}",
            world.driver.metrics()
        );
        tokio::task::yield_now().await;
    };
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].release_status, 200);
    let media = recorded[0].media.as_ref().expect("media statistics");
    assert_eq!((media.from_orig.packets, media.from_term.packets), (1, 1));
    world.driver.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_through_with_its_media_and_leaves_a_record() {
    call_with_media_and_record("127.0.0.1:0", 41_600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_through_over_ipv6() {
    call_with_media_and_record("[::1]:0", 41_800).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_calls_refuses_new_ones_and_keeps_their_records() {
    let world = World::start_on("127.0.0.1:0", 1, 42_000).await;
    let call = Call::up(&world).await;
    world.driver.drain(30).await;
    let late = world.phone();
    let own = late.local_addr().expect("local");
    let invite = request("INVITE", CALLED, own, "UDP", "", "");
    late.send_to(invite.as_bytes(), world.address)
        .expect("send");
    let refused = receive_until(&late, "SIP/2.0 503 ");
    assert_eq!(header(&refused, "Retry-After"), "30");

    world.driver.hang_up_all().await;
    for (socket, start) in [(&call.caller, "BYE "), (&call.callee, "BYE ")] {
        let bye = receive_until(socket, start);
        let ok = format!(
            "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Content-Length: 0\r\n\r\n",
            header(&bye, "Via"),
            header(&bye, "From"),
            header(&bye, "To"),
            header(&bye, "Call-ID"),
            header(&bye, "CSeq"),
        );
        socket.send_to(ok.as_bytes(), world.address).expect("send");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    // The gauge may be a quarter of a second old: it has to have seen the call first.
    while !world
        .driver
        .metrics()
        .contains("strowger_calls_started_total 1")
        || world.driver.active_calls() > 0
    {
        assert!(
            Instant::now() < deadline,
            "the call does not end\n{}",
            world.driver.metrics()
        );
        tokio::task::yield_now().await;
    }
    let store = world.store.clone();
    world.driver.stop().await;
    let read = |reader: &store::Reader<'_>| reader.cdrs(&CdrFilter::default(), Page::all());
    assert_eq!(store.read(read).await.expect("read").len(), 1);
}
