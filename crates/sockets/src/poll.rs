//! Readiness of many descriptors (epoll) and a wake-up from another thread (eventfd).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Which descriptors have something to read.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

/// What a [`Poller::wait`] found; reuse it, it is allocated once.
pub struct Ready {
    events: Box<[libc::epoll_event]>,
    filled: usize,
}

impl Poller {
    /// An empty poller.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are involved.
        let raw = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
        let epoll = unsafe { OwnedFd::from_raw_fd(raw) };
        Ok(Self { epoll })
    }

    /// Reports `token` whenever `descriptor` has something to read. Closing the descriptor ends that.
    pub fn add(&self, descriptor: &impl AsFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        let raw = descriptor.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open, being borrowed; the event is only read during the call.
        check(unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, raw, &mut event)
        })?;
        Ok(())
    }

    /// Forgets `descriptor`.
    pub fn remove(&self, descriptor: &impl AsFd) -> io::Result<()> {
        let raw = descriptor.as_fd().as_raw_fd();
        let none = std::ptr::null_mut();
        // SAFETY: both descriptors are open; EPOLL_CTL_DEL reads no event.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, raw, none) })?;
        Ok(())
    }

    /// Waits until a descriptor is ready or `timeout` has passed (`None` = for ever), to the nanosecond as far as the
    /// kernel's timers go. An interrupted wait returns with nothing ready.
    pub fn wait(&self, ready: &mut Ready, timeout: Option<Duration>) -> io::Result<()> {
        ready.filled = 0;
        let limit = timeout.map(timespec);
        let limit = limit
            .as_ref()
            .map_or(std::ptr::null(), |limit| &raw const *limit);
        // SAFETY: `events` has room for as many events as we say; `limit` is null or points to a live timespec; no
        // signal mask is given. epoll_pwait2 has been in the kernel since 5.11.
        let found = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                ready.events.as_mut_ptr(),
                ready.events.len() as libc::c_int,
                limit,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if found < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            };
        }
        ready.filled = found as usize;
        Ok(())
    }
}

impl Ready {
    /// Room for `capacity` descriptors per wait; those beyond are reported by the next.
    pub fn new(capacity: usize) -> Self {
        Self {
            events: vec![libc::epoll_event { events: 0, u64: 0 }; capacity].into_boxed_slice(),
            filled: 0,
        }
    }

    /// Tokens of the ready descriptors.
    pub fn tokens(&self) -> impl Iterator<Item = u64> {
        self.events[..self.filled].iter().map(|event| event.u64)
    }

    /// Every slot was used: there may be more.
    pub fn is_full(&self) -> bool {
        self.filled == self.events.len()
    }
}

/// Wakes a thread that waits in a [`Poller`]. Cheap to clone; any thread may call it any number of times.
#[derive(Clone, Debug)]
pub struct Waker {
    event: Arc<OwnedFd>,
}

impl Waker {
    /// A waker that has to be [added](Poller::add) to the poller of the thread it wakes.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are involved.
        let raw = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
        let event = unsafe { OwnedFd::from_raw_fd(raw) };
        Ok(Self {
            event: Arc::new(event),
        })
    }

    /// Makes the poller's wait return, now or as soon as it begins.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer is eight bytes, as an eventfd wants. It can fail only when the counter is at its
        // limit, and then the sleeper is as awake as it can be.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Waits for a wake-up, `timeout` at most, and says whether there was one. It stays in force until
    /// [`Waker::reset`].
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let mut descriptor = libc::pollfd {
            fd: self.event.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let limit = timespec(timeout);
        // SAFETY: one open descriptor and one timespec, both alive for the call; no signal mask.
        let found = unsafe { libc::ppoll(&mut descriptor, 1, &limit, std::ptr::null()) };
        if found < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(false),
                _ => Err(error),
            };
        }
        Ok(found > 0)
    }

    /// Takes the wake-ups back: to be called once awake, *before* looking at what the wake-up was for.
    pub fn reset(&self) {
        let mut count = [0u8; 8];
        // SAFETY: the buffer is eight bytes, as an eventfd wants. Failing means that there was no wake-up.
        unsafe {
            libc::read(
                self.event.as_raw_fd(),
                count.as_mut_ptr().cast(),
                count.len(),
            )
        };
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.event.as_fd()
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: duration.as_secs().min(i64::MAX as u64) as libc::time_t,
        tv_nsec: duration.subsec_nanos().into(),
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_ends_the_wait_until_it_is_reset() {
        let poller = Poller::new().expect("poller");
        let waker = Waker::new().expect("waker");
        poller.add(&waker, 7).expect("add");
        let mut ready = Ready::new(4);

        poller.wait(&mut ready, Some(Duration::ZERO)).expect("wait");
        assert_eq!(ready.tokens().count(), 0);

        let other = waker.clone();
        let thread = std::thread::spawn(move || other.wake());
        poller.wait(&mut ready, None).expect("wait");
        assert_eq!(ready.tokens().collect::<Vec<_>>(), [7]);
        thread.join().expect("join");

        waker.reset();
        poller.wait(&mut ready, Some(Duration::ZERO)).expect("wait");
        assert_eq!(ready.tokens().count(), 0);
    }

    #[test]
    fn a_removed_descriptor_is_silent() {
        let poller = Poller::new().expect("poller");
        let waker = Waker::new().expect("waker");
        poller.add(&waker, 7).expect("add");
        poller.remove(&waker).expect("remove");
        waker.wake();
        let mut ready = Ready::new(4);
        poller.wait(&mut ready, Some(Duration::ZERO)).expect("wait");
        assert_eq!(ready.tokens().count(), 0);
    }
}
