//! Which connections an outside call is tried by, and in what order.

use model::counters::ConnectionCounters;
use model::explain::ExplainRequest;
use model::{
    Connection, DialPlan, DialRule, DialRuleApplication, Route, RouteConnection, RouteMatching,
    RouteMethod, RuleMatching,
};
use sip::endpoint::Interface;
use sip::event::FailCause;
use sip::message::{ByteStr, NameAddr, Uri};
use sip::transport::Transport;
use std::collections::HashMap;
use std::sync::Arc;
use switch::directory::{Directory, DirectoryChange, DomainPart};
use switch::plan::{MAX_CANDIDATES, Plan, PlanContext, Refusal, route};
use switch::routing::routes::{Continuation, Failure, continuation};
use switch::source::{Attempt, identify};
use switch::trail::Trail;

/// A PBX of tenant `d1`, whose plan sends everything outside as it is dialled, and carriers `a`, `b`, `c`.
#[derive(Default)]
struct World {
    connections: Vec<Connection>,
    routes: Vec<Route>,
    ways: Vec<RouteConnection>,
    application: DialRuleApplication,
    draw: u64,
}

impl World {
    fn new() -> Self {
        let connection = |domain: &str, name: &str| Connection {
            domain: domain.into(),
            connection_orig_match_pattern: format!("sip*@{name}"),
            connection_address: format!("{name}.example"),
            ..Connection::default()
        };
        let mut connections: Vec<_> = ["a", "b", "c"].map(|name| connection("*", name)).into();
        connections.push(connection("d1", "pbx"));
        Self {
            connections,
            application: DialRuleApplication::ToConnection,
            ..Self::default()
        }
    }

    /// A route with connections of these hosts; `change` sets cost and share.
    fn route(
        mut self,
        destination: &str,
        method: RouteMethod,
        hosts: &[&str],
        change: impl Fn(usize, &mut RouteConnection),
    ) -> Self {
        let route = Route::new(destination, method);
        for (index, host) in hosts.iter().enumerate() {
            let mut way = RouteConnection::new(route.matching.clone(), index as i64 + 1, *host);
            change(index, &mut way);
            self.ways.push(way);
        }
        self.routes.push(route);
        self
    }

    /// A fixed route to one host, narrowed by its other matching fields.
    fn narrow(mut self, host: &str, change: impl FnOnce(&mut Route)) -> Self {
        let mut route = Route::new("sip:1*@*", RouteMethod::Fixed);
        change(&mut route);
        self.ways
            .push(RouteConnection::new(route.matching.clone(), 1, host));
        self.routes.push(route);
        self
    }

    fn with(mut self, index: usize, change: impl FnOnce(&mut Connection)) -> Self {
        change(&mut self.connections[index]);
        self
    }

    fn directory(&self) -> Directory {
        let mut directory = Directory::default();
        for domain in ["*", "d1"] {
            let connections = self
                .connections
                .iter()
                .filter(|c| c.domain == domain)
                .cloned();
            let rule = DialRule {
                domain: domain.into(),
                dial_rule_dial_plan: domain.into(),
                matching: RuleMatching::to("*"),
                dial_rule_application: self.application.clone(),
                ..DialRule::default()
            };
            let (mut part, problems) = DomainPart::build(
                domain,
                None,
                connections.collect(),
                vec![DialPlan::new(domain, domain, "")],
                vec![rule],
                |_| Arc::new(ConnectionCounters::default()),
            );
            assert!(problems.is_empty(), "{problems:?}");
            if domain == "*" {
                let problems = part.add_routes(self.routes.clone(), self.ways.clone());
                assert!(problems.is_empty(), "{problems:?}");
            }
            directory.apply(DirectoryChange::Swap(Arc::new(part)));
        }
        directory
    }

    fn plan(&self, from: &str, to: &str) -> Result<Plan, Refusal> {
        let directory = self.directory();
        let uri = |text: &str| Uri::parse(&ByteStr::copy(text)).unwrap();
        let attempt = Attempt {
            from: NameAddr::new(None, uri(from)),
            to: NameAddr::new(None, uri(to)),
            request_uri: uri(to),
            contact: None,
            claims: Default::default(),
            source_ip: None,
        };
        let source = identify(&directory, &attempt)
            .connection
            .expect("a connection calls");
        let interfaces = interfaces();
        let context = PlanContext {
            unix_ms: 0,
            interfaces: &interfaces,
            ringback: None,
            hostname: "node1.example",
            draw: self.draw,
        };
        route(&directory, &source, &attempt, context, &mut Trail::brief()).result
    }

    /// The hosts that are tried, in order.
    fn hosts(&self, to: &str) -> Vec<String> {
        let plan = self.plan("sip:100@pbx", to).unwrap();
        hosts_of(&plan)
    }
}

fn hosts_of(plan: &Plan) -> Vec<String> {
    let host = |orig: &str| orig.trim_start_matches("sip*@").to_owned();
    plan.candidates
        .iter()
        .map(|c| host(&c.target.record.connection_orig_match_pattern))
        .collect()
}

fn interfaces() -> Vec<Interface> {
    vec![Interface {
        transport: Transport::Udp,
        local: "192.0.2.1:5060".parse().unwrap(),
        advertise: "192.0.2.1".into(),
        port: 5060,
        alternate: false,
    }]
}

fn same(_: usize, _: &mut RouteConnection) {}

const NUMBER: &str = "sip:13105550100@d1";

#[test]
fn the_fixed_order_is_that_of_the_index() {
    let world = World::new().route("sip:1*@*", RouteMethod::Fixed, &["b", "a"], |index, way| {
        way.route_connection_ordinal_index = 9 - index as i64;
    });
    assert_eq!(world.hosts(NUMBER), ["a", "b"]);
}

#[test]
fn the_cheapest_comes_first_and_the_index_breaks_ties() {
    let costs = [0.5, 0.001, 0.5];
    let world = World::new().route(
        "sip:1*@*",
        RouteMethod::Cost,
        &["a", "b", "c"],
        |index, way| way.route_connection_integer_cost = costs[index],
    );
    assert_eq!(world.hosts(NUMBER), ["b", "a", "c"]);
}

#[test]
fn shares_are_drawn_and_none_means_last() {
    let shares = [0, 30, 10];
    let mut world = World::new().route(
        "sip:1*@*",
        RouteMethod::Percentage,
        &["a", "b", "c"],
        |index, way| way.route_connection_integer_percentage = shares[index],
    );
    let mut first: HashMap<String, u32> = HashMap::new();
    for draw in 0..2_000 {
        world.draw = draw;
        let hosts = world.hosts(NUMBER);
        assert_eq!(hosts.len(), 3, "each is tried once");
        assert_eq!(hosts[2], "a");
        *first.entry(hosts[0].clone()).or_default() += 1;
    }
    // Three of four calls, give or take five standard deviations.
    assert!((1_400..1_600).contains(&first["b"]), "{first:?}");
    assert_eq!(first["b"] + first["c"], 2_000);
}

#[test]
fn the_user_is_rewritten_and_may_be_told_apart_by_prefix() {
    let world = World::new().route("sip:1*@*", RouteMethod::Fixed, &["a", "b"], |index, way| {
        way.route_connection_translation_destination_user =
            ["1234[*]", "18005551234"][index].into();
    });
    let plan = world.plan("sip:100@pbx", NUMBER).unwrap();
    let uris: Vec<_> = plan
        .candidates
        .iter()
        .map(|c| c.request_uri.to_string())
        .collect();
    assert_eq!(
        uris,
        ["sip:123413105550100@a.example", "sip:18005551234@b.example"]
    );
}

#[test]
fn the_most_specific_route_takes_the_call() {
    let world = World::new()
        .route("sip:1??????????@*", RouteMethod::Fixed, &["a"], same)
        .route("sip:1310*@*", RouteMethod::Fixed, &["b"], same)
        .route("sip:13105550199@*", RouteMethod::Fixed, &["c"], same);
    assert_eq!(world.hosts("sip:12125550100@d1"), ["a"]);
    assert_eq!(world.hosts(NUMBER), ["b"]);
    assert_eq!(world.hosts("sip:+13105550100@d1"), ["b"], "with a plus");
    assert_eq!(world.hosts("sip:13105550199@d1"), ["c"]);
}

#[test]
fn source_class_hostname_and_the_switch_narrow_a_route() {
    let mut world = World::new().narrow("a", |_| {});
    assert_eq!(world.hosts(NUMBER), ["a"]);
    world = world.narrow("b", |route| {
        route.matching.route_source_match_pattern = "sip:100@*".into();
    });
    assert_eq!(world.hosts(NUMBER), ["b"], "for this caller");
    let other = world.plan("sip:200@pbx", NUMBER).unwrap();
    assert_eq!(hosts_of(&other), ["a"]);

    for (class, hostname, enabled, expected) in [
        ("0", "*", true, "c"),
        ("1", "*", true, "a"),
        ("*", "node1.example", true, "c"),
        ("*", "Node1.Example", true, "c"),
        ("*", "node2.example", true, "a"),
        ("0", "node1.example", false, "a"),
    ] {
        let world = World::new().narrow("a", |_| {}).narrow("c", |route| {
            route.matching = RouteMatching {
                route_class: class.into(),
                route_match_server_hostname: hostname.into(),
                ..RouteMatching::to("sip:1*@*")
            };
            route.route_is_enabled = enabled;
        });
        assert_eq!(world.hosts(NUMBER), [expected], "{class} {hostname}");
    }
}

#[test]
fn a_host_that_names_a_connection_goes_there_without_routes() {
    let world = World::new().route("sip:1*@*", RouteMethod::Fixed, &["a"], same);
    assert_eq!(world.hosts("sip:13105550100@c"), ["c"]);
    // From a carrier even where the host is a tenant's.
    let to_pbx = |trunk: bool| {
        World::new()
            .route("sip:1*@*", RouteMethod::Fixed, &["b"], same)
            .with(0, |a| {
                a.connection_is_carrier_trunk = trunk;
                a.dial_plan = "*".into();
            })
            .with(3, |pbx| {
                pbx.connection_term_match_pattern = "sip:*@d1".into()
            })
            .plan("sip:1@a", NUMBER)
            .unwrap()
    };
    assert_eq!(hosts_of(&to_pbx(true)), ["pbx"]);
    assert_eq!(hosts_of(&to_pbx(false)), ["b"]);
}

#[test]
fn the_connection_a_call_came_from_is_no_candidate() {
    let world = World::new()
        .route("sip:1*@*", RouteMethod::Fixed, &["a", "b"], same)
        .with(0, |a| a.dial_plan = "*".into());
    assert_eq!(hosts_of(&world.plan("sip:1@a", NUMBER).unwrap()), ["b"]);
}

#[test]
fn without_a_route_a_connection_for_any_host_serves() {
    let world = World::new()
        .route("sip:2*@*", RouteMethod::Fixed, &["a"], same)
        .with(2, |c| c.connection_term_match_pattern = "sip:*@*".into());
    assert_eq!(world.hosts(NUMBER), ["c"]);
    assert_eq!(world.hosts("sip:2@d1"), ["a"]);
    let none = World::new().route("sip:2*@*", RouteMethod::Fixed, &["a"], same);
    assert_eq!(none.plan("sip:100@pbx", NUMBER).unwrap_err().status, 404);
}

#[test]
fn candidates_that_cannot_be_called_are_left_out() {
    let world = World::new()
        .route(
            "sip:1*@*",
            RouteMethod::Fixed,
            &["nobody", "a", "b", "c"],
            same,
        )
        .with(0, |a| a.connection_term_enabled = false)
        .with(1, |b| b.connection_address = String::new());
    assert_eq!(world.hosts(NUMBER), ["c"]);
    let none = world.with(2, |c| {
        c.connection_sip_transport_protocol = model::SipTransport::Tls;
    });
    assert_eq!(none.plan("sip:100@pbx", NUMBER).unwrap_err().status, 503);
    let empty = World::new().route("sip:1*@*", RouteMethod::Fixed, &[], same);
    assert_eq!(empty.plan("sip:100@pbx", NUMBER).unwrap_err().status, 503);
}

#[test]
fn a_plan_is_bounded_and_a_rule_may_want_one_alone() {
    let many = ["a", "b", "c"].repeat(9);
    let mut world = World::new().route("sip:1*@*", RouteMethod::Fixed, &many, same);
    assert_eq!(world.hosts(NUMBER).len(), MAX_CANDIDATES);
    world.application = DialRuleApplication::ToConnectionOrUserNoFailover;
    assert_eq!(world.hosts(NUMBER), ["a"]);
}

#[test]
fn ten_thousand_number_ranges_are_one_route_each() {
    let mut world = World::new();
    for range in 0..10_000 {
        world = world.route(
            &format!("sip:1{range:04}*@*"),
            RouteMethod::Fixed,
            &[["a", "b", "c"][range % 3]],
            same,
        );
    }
    assert_eq!(world.hosts("sip:100010000000@d1"), ["b"]);
    assert_eq!(world.hosts("sip:+199990000000@d1"), ["a"]);
}

#[test]
fn an_explanation_names_the_routes_that_lost_and_who_comes_next() {
    let world = World::new()
        .route("sip:1*@*", RouteMethod::Fixed, &["c"], same)
        .route(
            "sip:1310*@*",
            RouteMethod::Cost,
            &["a", "nobody", "b"],
            same,
        )
        .narrow("c", |route| {
            route.matching.route_class = "2".into();
        });
    let interfaces = interfaces();
    let context = PlanContext {
        unix_ms: 0,
        interfaces: &interfaces,
        ringback: None,
        hostname: "node1",
        draw: 0,
    };
    let request = ExplainRequest {
        from: "sip:100@pbx".into(),
        to: NUMBER.into(),
        ..ExplainRequest::default()
    };
    let told = switch::explain(&world.directory(), &request, context).unwrap();
    let step = |stage: &str| told.steps.iter().find(|step| step.stage == stage).unwrap();
    let route = step("route");
    assert_eq!(route.record.as_deref(), Some("route sip:1310*@*"));
    assert!(route.text.ends_with("order cost"), "{}", route.text);
    let others: Vec<_> = route
        .others
        .iter()
        .map(|other| (other.record.as_str(), other.why.as_str()))
        .collect();
    assert_eq!(
        others,
        [
            (
                "route sip:1*@* class 2",
                "route-class is not the class of the call"
            ),
            ("route sip:1*@*", "matches too, but less specifically"),
        ]
    );
    let left_out = told
        .steps
        .iter()
        .find(|step| step.text.contains("left out"))
        .unwrap();
    assert_eq!(
        left_out.text,
        "index 2, sip:13105550100@nobody, is left out: no term pattern covers it"
    );
    assert!(
        told.outcome
            .ends_with("Should that fail: connection */sip*@b."),
        "{}",
        told.outcome
    );
}

#[test]
fn which_failures_lead_to_the_next_connection() {
    use Continuation::{Advance, Stop};
    let answer = |status: u16| Failure {
        cause: FailCause::Response,
        status,
        q850: None,
        rang: false,
        heard: false,
    };
    for status in [401, 403, 407, 408, 500, 501, 502, 503, 504] {
        assert_eq!(continuation(answer(status)), Advance, "{status}");
    }
    for status in [302, 400, 404, 410, 480, 484, 486, 487, 488, 600, 603, 604] {
        assert_eq!(continuation(answer(status)), Stop, "{status}");
    }
    let with = |status, cause| Failure {
        q850: Some(cause),
        ..answer(status)
    };
    // Whatever the status says, a busy or unknown party is busy everywhere, and a lack of channels is not.
    for (status, cause, expected) in [
        (503, 17, Stop),
        (500, 1, Stop),
        (403, 28, Stop),
        (503, 34, Advance),
        (480, 34, Advance),
        (404, 3, Advance),
        (480, 18, Stop),
        (486, 34, Stop),
        (603, 41, Stop),
        (503, 16, Stop),
        (502, 31, Advance),
    ] {
        assert_eq!(
            continuation(with(status, cause)),
            expected,
            "{status} {cause}"
        );
    }
    let of = |cause, rang, heard| Failure {
        cause,
        status: 408,
        q850: None,
        rang,
        heard,
    };
    for (failure, expected) in [
        (of(FailCause::Timeout, false, false), Advance),
        (of(FailCause::Timeout, true, false), Stop),
        (of(FailCause::Transport, false, false), Advance),
        (of(FailCause::Resolve, false, false), Advance),
        (of(FailCause::Auth, false, false), Advance),
        (of(FailCause::Cancelled, false, false), Stop),
        (of(FailCause::Overload, false, false), Stop),
        (of(FailCause::Transport, true, true), Stop),
    ] {
        assert_eq!(continuation(failure), expected, "{failure:?}");
    }
    assert_eq!(
        continuation(Failure {
            rang: true,
            ..answer(408)
        }),
        Stop
    );
    assert_eq!(
        continuation(Failure {
            rang: true,
            ..answer(503)
        }),
        Advance,
        "it rang somewhere without anybody being heard"
    );
}
