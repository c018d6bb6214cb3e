//! A bounded queue into a thread that sleeps in a [`Poller`](sockets::Poller).
//!
//! Threads and async tasks both send. The receiver is woken only when it said that it is about to sleep, so a busy
//! thread costs its senders no system call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sockets::Waker;
use tokio::sync::mpsc;

/// The receiving end.
pub(crate) struct Mailbox<T> {
    queue: mpsc::Receiver<T>,
    waker: Waker,
    asleep: Arc<AtomicBool>,
}

/// A sending end.
pub(crate) struct Sender<T> {
    queue: mpsc::Sender<T>,
    waker: Waker,
    asleep: Arc<AtomicBool>,
}

/// Why an item was not taken; it comes back to the sender.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused<T> {
    /// The queue is at its bound.
    Full(T),
    /// Nobody reads any more.
    Closed(T),
}

/// A mailbox for `capacity` items.
pub(crate) fn mailbox<T>(capacity: usize) -> io::Result<(Sender<T>, Mailbox<T>)> {
    let waker = Waker::new()?;
    let asleep = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel(capacity);
    let sender = Sender {
        queue: sender,
        waker: waker.clone(),
        asleep: Arc::clone(&asleep),
    };
    let mailbox = Mailbox {
        queue: receiver,
        waker,
        asleep,
    };
    Ok((sender, mailbox))
}

impl<T> Mailbox<T> {
    /// The next item, if there is one now.
    pub(crate) fn next(&mut self) -> Option<T> {
        self.queue.try_recv().ok()
    }

    /// What wakes the thread: to be added to its poller.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Says that the thread is about to wait, and whether it may: with items in the queue it must not.
    pub(crate) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.queue.is_empty() {
            return true;
        }
        self.awake();
        false
    }

    /// Says that the thread is back.
    pub(crate) fn awake(&self) {
        // When a sender was quicker, its wake-up is pending and has to be taken back.
        if !self.asleep.swap(false, Ordering::SeqCst) {
            self.waker.reset();
        }
    }
}

impl<T> Sender<T> {
    /// Puts `item` into the queue if there is room.
    pub(crate) fn try_send(&self, item: T) -> Result<(), Refused<T>> {
        match self.queue.try_send(item) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(item)) => Err(Refused::Full(item)),
            Err(mpsc::error::TrySendError::Closed(item)) => Err(Refused::Closed(item)),
        }
    }

    /// Waits for room, then puts `item` into the queue. `Err` when nobody reads any more.
    pub(crate) async fn send(&self, item: T) -> Result<(), Refused<T>> {
        match self.queue.send(item).await {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(error) => Err(Refused::Closed(error.0)),
        }
    }

    /// Items waiting to be read.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }
}

// Derived, it would ask for `T: Clone`.
impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            waker: self.waker.clone(),
            asleep: Arc::clone(&self.asleep),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockets::{Poller, Ready};

    #[test]
    fn every_item_wakes_a_sleeper() {
        let (sender, mut mailbox) = mailbox::<u32>(4).expect("mailbox");
        let poller = Poller::new().expect("poller");
        poller.add(mailbox.waker(), 1).expect("add");
        let mut ready = Ready::new(1);

        let thread = std::thread::spawn(move || {
            for n in 0..1000 {
                let mut item = n;
                while let Err(Refused::Full(back)) = sender.try_send(item) {
                    item = back;
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < 1000 {
            if mailbox.may_sleep() {
                poller.wait(&mut ready, None).expect("wait");
                mailbox.awake();
            }
            while let Some(n) = mailbox.next() {
                assert_eq!(n, expected);
                expected += 1;
            }
        }
        thread.join().expect("join");
    }

    #[test]
    fn a_full_mailbox_hands_the_item_back() {
        let (sender, mailbox) = mailbox::<u32>(1).expect("mailbox");
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Err(Refused::Full(2)));
        assert_eq!(sender.waiting(), 1);
        drop(mailbox);
        assert_eq!(sender.try_send(3), Err(Refused::Closed(3)));
    }
}
