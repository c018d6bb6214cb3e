//! Committed changes, carried to every subscriber and reported back as applied.

use crate::Bus;
use model::Change;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Changes that may wait for one subscriber; publishers wait for room after that.
pub const MAX_CHANGES_QUEUED: usize = 256;
/// Subscribers one bus can have.
pub const MAX_SUBSCRIBERS: usize = 64;
/// How long a publisher waits for all subscribers together.
pub const APPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Everybody who wants to hear of changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    subscribers: Mutex<Vec<mpsc::Sender<Delivery>>>,
}

/// One change, on its way to one subscriber.
///
/// [`Delivery::done`] says that it is applied. Letting it fall means that it was not, and the
/// publisher hears that at once.
#[derive(Debug)]
pub struct Delivery {
    /// What changed: read the records behind it anew.
    pub change: Change,
    applied: oneshot::Sender<()>,
}

impl Delivery {
    /// Says that the change is in force.
    pub fn done(self) {
        // The publisher may have stopped waiting; the change is in force all the same.
        let _ = self.applied.send(());
    }
}

/// A subscriber's end. Changes may overtake each other when the queue is full, which does no harm to who
/// reads the records anew for each.
#[derive(Debug)]
pub struct Subscription {
    deliveries: mpsc::Receiver<Delivery>,
}

impl Subscription {
    /// The next change; `None` when the bus is gone.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    /// [`Subscription::next`] for threads outside an async runtime.
    pub fn next_blocking(&mut self) -> Option<Delivery> {
        self.deliveries.blocking_recv()
    }

    /// A change that is waiting already.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.deliveries.try_recv().ok()
    }
}

/// A change that is in the store, but not in force everywhere yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotApplied {
    /// Subscribers that gave it up or took too long.
    pub missing: usize,
    /// Subscribers that applied it.
    pub applied: usize,
}

impl fmt::Display for NotApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.missing + self.applied;
        write!(
            f,
            "the change is stored, but {} of {all} parts have not applied it",
            self.missing
        )
    }
}

impl std::error::Error for NotApplied {}

/// The bus has [`MAX_SUBSCRIBERS`] already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManySubscribers;

impl fmt::Display for TooManySubscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bus has {MAX_SUBSCRIBERS} subscribers already")
    }
}

impl std::error::Error for TooManySubscribers {}

impl Bus {
    /// Hears every change published from now on.
    pub fn subscribe(&self) -> Result<Subscription, TooManySubscribers> {
        let (sender, deliveries) = mpsc::channel(MAX_CHANGES_QUEUED);
        let mut subscribers = self.changes.lock();
        subscribers.retain(|subscriber| !subscriber.is_closed());
        if subscribers.len() == MAX_SUBSCRIBERS {
            return Err(TooManySubscribers);
        }
        subscribers.push(sender);
        Ok(Subscription { deliveries })
    }

    /// Carries a committed change to all subscribers; the future waits until each has applied it, at
    /// most [`APPLY_TIMEOUT`]. A subscriber that went away is not waited for.
    ///
    /// The change is on its way when this returns, before the future is first polled: a caller that is
    /// cancelled cannot leave the switch with old records.
    pub fn publish(
        &self,
        change: Change,
    ) -> impl Future<Output = Result<(), NotApplied>> + Send + use<> {
        let mut under_way = Vec::new();
        for subscriber in self.changes.lock().iter() {
            let (applied, answer) = oneshot::channel();
            let delivery = Delivery {
                change: change.clone(),
                applied,
            };
            match subscriber.try_send(delivery) {
                Ok(()) => under_way.push((subscriber.clone(), None, answer)),
                Err(TrySendError::Full(delivery)) => {
                    under_way.push((subscriber.clone(), Some(delivery), answer));
                }
                Err(TrySendError::Closed(_)) => {}
            }
        }
        wait_until_applied(under_way)
    }
}

/// A subscriber, what did not fit into its queue, and where it says that it is done.
type UnderWay = (
    mpsc::Sender<Delivery>,
    Option<Delivery>,
    oneshot::Receiver<()>,
);

async fn wait_until_applied(under_way: Vec<UnderWay>) -> Result<(), NotApplied> {
    let deadline = Instant::now() + APPLY_TIMEOUT;
    let mut result = NotApplied {
        missing: 0,
        applied: 0,
    };
    for (subscriber, unsent, answer) in under_way {
        let applied = async {
            if let Some(delivery) = unsent {
                // An error means that the subscriber is gone, which the answer shows too.
                let _ = subscriber.send(delivery).await;
            }
            answer.await
        };
        match timeout_at(deadline, applied).await {
            Ok(Ok(())) => result.applied += 1,
            // Fell with its subscriber: there is nothing left that could disagree.
            Ok(Err(_)) if subscriber.is_closed() => {}
            Ok(Err(_)) | Err(_) => result.missing += 1,
        }
    }
    if result.missing == 0 {
        Ok(())
    } else {
        Err(result)
    }
}

impl Changes {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<Delivery>>> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str) -> Change {
        Change::Domain(name.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_to_tell_is_told_at_once() {
        assert_eq!(Bus::local().publish(change("d1")).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn publishing_ends_when_every_subscriber_applied() {
        let bus = Bus::local();
        let mut first = bus.subscribe().unwrap();
        let mut second = bus.subscribe().unwrap();
        let publishing = tokio::spawn({
            let bus = bus.clone();
            async move { bus.publish(change("d1")).await }
        });
        let one = first.next().await.unwrap();
        let two = second.next().await.unwrap();
        assert_eq!((one.change.domain(), two.change.domain()), ("d1", "d1"));
        one.done();
        tokio::task::yield_now().await;
        assert!(!publishing.is_finished());
        two.done();
        assert_eq!(publishing.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_publisher_has_published_all_the_same() {
        let bus = Bus::local();
        let mut subscription = bus.subscribe().unwrap();
        drop(bus.publish(change("d1")));
        assert_eq!(subscription.try_next().unwrap().change, change("d1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_let_fall_is_reported() {
        let bus = Bus::local();
        let mut good = bus.subscribe().unwrap();
        let mut bad = bus.subscribe().unwrap();
        let apply = async {
            good.next().await.unwrap().done();
            drop(bad.next().await.unwrap());
        };
        let (published, ()) = tokio::join!(bus.publish(change("d1")), apply);
        assert_eq!(
            published,
            Err(NotApplied {
                missing: 1,
                applied: 1
            })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_subscriber_costs_a_bounded_time() {
        let bus = Bus::local();
        let mut stuck = bus.subscribe().unwrap();
        let begun = Instant::now();
        assert_eq!(
            bus.publish(change("d1")).await,
            Err(NotApplied {
                missing: 1,
                applied: 0
            })
        );
        assert_eq!(begun.elapsed(), APPLY_TIMEOUT);
        // The change is still there for it to apply late.
        stuck.try_next().unwrap().done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_is_waited_for_and_then_reported() {
        let bus = Bus::local();
        let _stuck = bus.subscribe().unwrap();
        let mut waiting = Vec::new();
        for number in 0..=MAX_CHANGES_QUEUED {
            let bus = bus.clone();
            waiting.push(tokio::spawn(async move {
                bus.publish(change(&number.to_string())).await
            }));
        }
        for publishing in waiting {
            let result = publishing.await.unwrap();
            assert_eq!(
                result,
                Err(NotApplied {
                    missing: 1,
                    applied: 0
                })
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_went_away_is_not_waited_for() {
        let bus = Bus::local();
        drop(bus.subscribe().unwrap());
        assert_eq!(bus.publish(change("d1")).await, Ok(()));
        let leaving = bus.subscribe().unwrap();
        let leave = async {
            tokio::task::yield_now().await;
            drop(leaving);
        };
        let (published, ()) = tokio::join!(bus.publish(change("d1")), leave);
        assert_eq!(published, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn places_of_the_gone_are_free_again() {
        let bus = Bus::local();
        let all: Vec<_> = (0..MAX_SUBSCRIBERS)
            .map(|_| bus.subscribe().unwrap())
            .collect();
        assert_eq!(bus.subscribe().unwrap_err(), TooManySubscribers);
        drop(all);
        assert!(bus.subscribe().is_ok());
    }

    #[test]
    fn a_plain_thread_can_subscribe() {
        let bus = Bus::local();
        let mut subscription = bus.subscribe().unwrap();
        let applier = std::thread::spawn(move || {
            let mut names = Vec::new();
            while names.len() < 2 {
                let Some(delivery) = subscription.next_blocking() else {
                    break;
                };
                names.push(delivery.change.domain().to_owned());
                delivery.done();
            }
            names
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            bus.publish(change("d1")).await.unwrap();
            bus.publish(change("d2")).await.unwrap();
        });
        assert_eq!(applier.join().unwrap(), ["d1", "d2"]);
    }
}
