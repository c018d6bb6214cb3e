//! How many descriptors this process may have.

use std::io;

/// Lifts the soft limit on open files to the hard one and says what it is now. A relayed call takes eight
/// descriptors, and the usual soft limit of 1,024 is meant for programs that use `select`.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit to a place that is ours.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the kernel reads one rlimit, which is initialised.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_once_and_stays() {
        let first = raise_open_files().expect("raise");
        assert!(first > 0);
        assert_eq!(raise_open_files().expect("raise again"), first);
    }
}
