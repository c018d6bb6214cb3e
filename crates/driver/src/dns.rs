//! Look-ups in the DNS, for shards and for the directory feed.
//!
//! What RFC 3263 makes of the records is decided in [`sip::resolve`]; here they are fetched and kept as long as their
//! time to live says, and while no server answers, for a day beyond that. A question that is already on its way is not sent twice. The cache, the questions on their way
//! and those who wait for one answer are bounded.

mod cache;
mod hickory;

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sip::random::Random;
use sip::resolve::{LookupError, Question, Record, Resolution, Step, Target};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::debug;

use crate::shards::{Mail, Shards};
use cache::{Cache, Known};

pub(crate) use hickory::Hickory;

/// Questions waiting to be looked at.
const QUEUE_QUESTIONS: usize = 4096;

/// Questions on their way to a server at one time.
const LOOKUPS_MAX: usize = 256;

/// Who may wait for one answer.
const WAITERS_MAX: usize = 4096;

/// What a resolver found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) result: Result<Vec<Record>, LookupError>,
    /// How long the servers say that this is true.
    pub(crate) ttl: Duration,
}

/// Where records come from.
pub(crate) trait Resolver: Send + Sync + 'static {
    /// Fetches records; CNAMEs are followed.
    fn lookup(&self, question: Question) -> impl Future<Output = Found> + Send;
}

/// Where no name server is configured: every name is unknown for now.
pub(crate) struct NoDns;

impl Resolver for NoDns {
    async fn lookup(&self, _question: Question) -> Found {
        Found {
            result: Err(LookupError::ServerFailure),
            ttl: Duration::ZERO,
        }
    }
}

/// Counts for the metrics.
#[derive(Default)]
pub(crate) struct DnsCounts {
    pub(crate) hits: AtomicU64,
    pub(crate) lookups: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// The asking side.
#[derive(Clone)]
pub(crate) struct Dns {
    questions: mpsc::Sender<Asked>,
}

struct Asked {
    question: Question,
    by: Waiter,
}

enum Waiter {
    Shard(u16),
    Task(oneshot::Sender<Result<Vec<Record>, LookupError>>),
}

impl Dns {
    /// Starts to answer questions with `resolver`.
    pub(crate) fn start(
        resolver: impl Resolver,
        shards: Arc<Shards>,
        counts: Arc<DnsCounts>,
    ) -> Self {
        let (questions, asked) = mpsc::channel(QUEUE_QUESTIONS);
        let desk = Desk {
            resolver: Arc::new(resolver),
            shards,
            counts,
            cache: Cache::default(),
            waiting: HashMap::new(),
            lookups: JoinSet::new(),
        };
        tokio::spawn(desk.run(asked));
        Self { questions }
    }

    /// Asks on behalf of a shard, which gets the answer by mail. `false` when too much is waiting already.
    pub(crate) fn ask(&self, question: Question, shard: u16) -> bool {
        let by = Waiter::Shard(shard);
        self.questions.try_send(Asked { question, by }).is_ok()
    }

    /// All addresses that `target` leads to, for checking where a peer's requests come from.
    pub(crate) async fn addresses(&self, target: Target, seed: u64) -> Vec<IpAddr> {
        let (mut resolution, mut step) = Resolution::start(target, &mut Random::new(seed));
        loop {
            match step {
                Step::Lookup(question) => {
                    let result = self.fetch(question.clone()).await;
                    step = resolution.answer(&question, result);
                }
                Step::Done(hops) => {
                    let mut addresses: Vec<_> = hops.into_iter().map(|hop| hop.addr.ip()).collect();
                    addresses.sort();
                    addresses.dedup();
                    return addresses;
                }
                Step::Failed(_) => return Vec::new(),
            }
        }
    }

    async fn fetch(&self, question: Question) -> Result<Vec<Record>, LookupError> {
        let (answer, answered) = oneshot::channel();
        let by = Waiter::Task(answer);
        if self.questions.send(Asked { question, by }).await.is_err() {
            return Err(LookupError::ServerFailure);
        }
        answered.await.unwrap_or(Err(LookupError::ServerFailure))
    }
}

struct Desk<R> {
    resolver: Arc<R>,
    shards: Arc<Shards>,
    counts: Arc<DnsCounts>,
    cache: Cache,
    waiting: HashMap<Question, Vec<Waiter>>,
    lookups: JoinSet<(Question, Found)>,
}

impl<R: Resolver> Desk<R> {
    async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        loop {
            tokio::select! {
                asked = asked.recv() => match asked {
                    Some(asked) => self.asked(asked),
                    None => return,
                },
                Some(done) = self.lookups.join_next() => match done {
                    Ok((question, found)) => self.found(question, found),
                    // A look-up is never aborted, so it has panicked; who waits for it gives up by timer.
                    Err(error) => debug!(%error, "a DNS look-up ended badly"),
                },
            }
        }
    }

    fn asked(&mut self, Asked { question, by }: Asked) {
        let by = match self.cache.get(Instant::now(), &question) {
            Known::Fresh(result) => {
                self.counts.hits.fetch_add(1, Ordering::Relaxed);
                return answer(&self.shards, &question, by, result.clone());
            }
            Known::Stale(result) => {
                self.counts.hits.fetch_add(1, Ordering::Relaxed);
                answer(&self.shards, &question, by, result.clone());
                None
            }
            Known::Nothing => Some(by),
        };
        self.look_up(question, by);
    }

    /// Asks the servers, on behalf of somebody or to have the answer for the next one.
    fn look_up(&mut self, question: Question, by: Option<Waiter>) {
        if let Some(waiters) = self.waiting.get_mut(&question) {
            let room = WAITERS_MAX.saturating_sub(waiters.len());
            let mut by = by.into_iter();
            waiters.extend(by.by_ref().take(room));
            by.for_each(|by| answer(&self.shards, &question, by, Err(LookupError::ServerFailure)));
        } else if self.lookups.len() >= LOOKUPS_MAX {
            if let Some(by) = by {
                answer(&self.shards, &question, by, Err(LookupError::ServerFailure));
            }
        } else {
            self.counts.lookups.fetch_add(1, Ordering::Relaxed);
            self.waiting
                .insert(question.clone(), by.into_iter().collect());
            let resolver = Arc::clone(&self.resolver);
            self.lookups.spawn(async move {
                let found = resolver.lookup(question.clone()).await;
                (question, found)
            });
        }
    }

    fn found(&mut self, question: Question, found: Found) {
        if matches!(
            found.result,
            Err(LookupError::ServerFailure | LookupError::Timeout)
        ) {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
        let waiters = self.waiting.remove(&question).unwrap_or_default();
        let result = self.cache.put(Instant::now(), question.clone(), found);
        for waiter in waiters {
            answer(&self.shards, &question, waiter, result.clone());
        }
    }
}

fn answer(
    shards: &Shards,
    question: &Question,
    to: Waiter,
    result: Result<Vec<Record>, LookupError>,
) {
    match to {
        Waiter::Shard(shard) => {
            let question = question.clone();
            shards.try_send(
                usize::from(shard),
                Mail::Sip(sip::endpoint::Input::Answer { question, result }),
            );
        }
        // Whoever asked may have given up.
        Waiter::Task(task) => drop(task.send(result)),
    }
}

#[cfg(test)]
mod tests;
