use std::{fmt::Display, fs, time::Duration};

/// Resident memory of this process in bytes.
#[must_use]
pub fn resident() -> usize {
    resident_of("self")
}

/// Resident memory of a process in bytes, by its id; 0 when there is none.
#[must_use]
pub fn resident_of(process: impl Display) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kibibytes: usize = line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0);
    kibibytes * 1024
}

/// The time that this thread has had on a processor: what others do at the same time is not in it.
#[must_use]
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}
