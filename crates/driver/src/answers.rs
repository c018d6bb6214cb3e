//! Answers questions that only the running switch can answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{Answer, Health, Question, Questions};
use media::ringing_tones::RingingTone;
use model::{ConnectionKey, ExplainRequest, Explanation, PeerState};
use sip::endpoint::Interface;
use switch::plan::PlanContext;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::counters::CounterBook;
use crate::metrics::Metrics;
use crate::shards::{Mail, Shards};

/// How long a shard may take to show that it is alive. It shows it between two messages.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// What is needed to answer.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) shards: Arc<Shards>,
    pub(crate) counters: Arc<CounterBook>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) interfaces: Arc<[Interface]>,
    /// Host name of this node.
    pub(crate) hostname: Arc<str>,
    pub(crate) ringback: Option<&'static RingingTone>,
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) tasks: Arc<Tasks>,
}

/// Tasks that have to run for as long as the switch does.
#[derive(Default)]
pub(crate) struct Tasks {
    running: Mutex<Vec<(&'static str, AbortHandle)>>,
}

impl Tasks {
    /// Starts one.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let handle = tokio::spawn(task).abort_handle();
        self.lock().push((name, handle));
    }

    /// Ends those of that name.
    pub(crate) fn abort_named(&self, name: &str) {
        let tasks = self.lock();
        let named = tasks.iter().filter(|(known, _)| *known == name);
        named.for_each(|(_, task)| task.abort());
    }

    /// Ends all of them.
    pub(crate) fn abort(&self) {
        self.lock().iter().for_each(|(_, task)| task.abort());
    }

    /// The name of one that has ended although it should not.
    fn ended(&self) -> Option<&'static str> {
        self.lock()
            .iter()
            .find(|(_, task)| task.is_finished())
            .map(|(name, _)| *name)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(&'static str, AbortHandle)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    /// Answers until the bus is gone.
    pub(crate) async fn run(self, mut questions: Questions) {
        while let Some(asked) = questions.next().await {
            let answers = self.clone();
            // One question that takes its time must not hold up the others; the bus bounds how many there are.
            tokio::spawn(async move {
                let answer = match &asked.question {
                    Question::Explain(request) => match answers.explain(request.clone()).await {
                        Some(explanation) => Answer::Explain(Box::new(explanation)),
                        None => return,
                    },
                    Question::Counters(keys) => {
                        Answer::Counters(keys.iter().map(|key| answers.counters.now(key)).collect())
                    }
                    Question::DomainCalls(domains) => {
                        let calls = domains.iter().map(|name| answers.counters.calls_of(name));
                        Answer::DomainCalls(calls.collect())
                    }
                    Question::Peers(keys) => match answers.peers(keys.clone().into()).await {
                        Some(states) => Answer::Peers(states),
                        None => return,
                    },
                    Question::Health => Answer::Health(answers.health().await),
                };
                asked.answer(answer);
            });
        }
    }

    /// Whether every shard is alive and calls are taken.
    pub(crate) async fn health(&self) -> Health {
        let mut silent = Vec::new();
        for shard in 0..self.shards.count() {
            if self.ask(shard, |_, _| ()).await.is_none() {
                silent.push(shard.to_string());
            }
        }
        let draining = self.draining.load(Ordering::Relaxed);
        let ended = self.tasks.ended();
        let detail = match (silent.is_empty(), ended, draining) {
            (false, _, _) => format!("no sign of life from shard {}", silent.join(", ")),
            (true, Some(task), _) => format!("the {task} has ended"),
            (true, None, true) => "draining: no new calls are taken".to_owned(),
            (true, None, false) => "taking calls".to_owned(),
        };
        Health {
            ready: silent.is_empty() && ended.is_none() && !draining,
            active_calls: self.metrics.active_calls() as u64,
            detail,
        }
    }

    /// Registrations with carriers that are being taken back.
    pub(crate) async fn farewells(&self) -> usize {
        let mut sum = 0;
        for shard in 0..self.shards.count() {
            let asked = self.ask(shard, |switch, _| switch.stats().farewells).await;
            sum += asked.unwrap_or(0);
        }
        sum
    }

    /// How it stands with the peers of connections. Each is known to one shard; `None` when a shard does not say.
    async fn peers(&self, keys: Arc<[ConnectionKey]>) -> Option<Vec<PeerState>> {
        let mut states = vec![PeerState::default(); keys.len()];
        for shard in 0..self.shards.count() {
            let keys = Arc::clone(&keys);
            let own = move |switch: &switch::Switch, clock: switch::Clock| {
                let known = keys.iter().enumerate();
                known
                    .filter_map(|(index, key)| Some((index, switch.peer_state(clock, key)?)))
                    .collect::<Vec<_>>()
            };
            for (index, state) in self.ask(shard, own).await? {
                states[index] = state;
            }
        }
        Some(states)
    }

    /// The decision path of a call, by the records that the first shard routes by; all shards have the same.
    async fn explain(&self, request: ExplainRequest) -> Option<Explanation> {
        let interfaces = Arc::clone(&self.interfaces);
        let hostname = Arc::clone(&self.hostname);
        let ringback = self.ringback;
        let explain = move |switch: &switch::Switch, clock: switch::Clock| {
            let context = PlanContext {
                unix_ms: clock.unix_ms,
                interfaces: &interfaces,
                ringback,
                hostname: &hostname,
                // Not a call: the same question has the same answer.
                draw: 0,
            };
            // A question that is none is answered by saying so.
            switch::explain(switch.directory(), &request, context).unwrap_or_else(|error| {
                Explanation {
                    outcome: error.to_string(),
                    ..Explanation::default()
                }
            })
        };
        self.ask(0, explain).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        shard: usize,
        question: impl FnOnce(&switch::Switch, switch::Clock) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let mail = Mail::Ask(Box::new(move |switch, clock| {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(question(switch, clock));
        }));
        let asked = async {
            self.shards.send(shard, mail).await;
            answer.await.ok()
        };
        tokio::time::timeout(SIGN_OF_LIFE, asked)
            .await
            .ok()
            .flatten()
    }
}
