//! How many descriptors this process may have, and how its memory grows.

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

/// Lets the memory of this process grow by pages of 4 KB from now on, whatever the system does for others. By pages of
/// 2 MB, which many systems give to everybody, each hole that an ended call leaves may keep a hundred times its size. It
/// fails on a kernel that has no such pages.
pub fn use_small_pages() -> io::Result<()> {
    let (yes, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: this option takes numbers alone, and changes nothing that is in memory.
    let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, yes, unused, unused, unused) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_that_large_pages_are_off() {
        if use_small_pages().is_ok() {
            let status = std::fs::read_to_string("/proc/self/status").expect("status");
            let line = status.lines().find(|line| line.starts_with("THP_enabled:"));
            // Older kernels do not tell.
            assert!(line.is_none_or(|line| line.ends_with('0')), "{line:?}");
        }
    }

    #[test]
    fn the_limit_is_raised_once_and_stays() {
        let first = raise_open_files().expect("raise");
        assert!(first > 0);
        assert_eq!(raise_open_files().expect("raise again"), first);
    }
}
