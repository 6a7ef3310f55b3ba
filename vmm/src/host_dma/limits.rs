//! The limit on locked memory.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::HostError;

/// The capability that lifts the limit.
const CAP_IPC_LOCK: u32 = 14;

/// Checks that `spaces` address spaces can pin `ram` bytes each.
///
/// Each container charges what it maps on its own, and a guest that passes a device through its unit
/// untranslated has all its memory mapped there.
pub(super) fn check_locked_memory(spaces: u64, ram: u64) -> Result<(), HostError> {
    let limit = getrlimit(Resource::Memlock).current;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    check(spaces, ram, limit, may_lock(&status, &map))
}

fn check(spaces: u64, ram: u64, limit: Option<u64>, may_lock: bool) -> Result<(), HostError> {
    let needed = spaces.saturating_mul(ram);
    match limit {
        Some(limit) if needed > limit && !may_lock => Err(HostError::LockedMemory {
            needed: needed.div_ceil(1 << 20),
            kib: needed.div_ceil(1 << 10),
            limit: limit >> 20,
            spaces,
        }),
        _ => Ok(()),
    }
}

/// Whether the limit does not hold for this process: the capability counts in the first user namespace only.
fn may_lock(status: &str, uid_map: &str) -> bool {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let first_namespace = uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
    effective >> CAP_IPC_LOCK & 1 == 1 && first_namespace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_low_a_limit_is_said_with_the_number_needed() {
        let error = check(2, 512 << 20, Some(64 << 10), false).unwrap_err().to_string();
        assert!(error.contains("1024 MiB"), "{error}");
        assert!(error.contains("ulimit -l 1048576"), "{error}");
    }

    #[test]
    fn no_limit_a_high_limit_or_the_capability_suffice() {
        assert!(check(2, 512 << 20, None, false).is_ok());
        assert!(check(2, 512 << 20, Some(1 << 30), false).is_ok());
        assert!(check(2, 512 << 20, Some(0), true).is_ok());
    }

    #[test]
    fn the_capability_counts_only_outside_user_namespaces() {
        let status = "Name:\tx\nCapEff:\t0000000000004000\n";
        assert!(may_lock(status, "         0          0 4294967295\n"));
        assert!(!may_lock(status, "         0       1000          1\n"));
        assert!(!may_lock("CapEff:\t0000000000000000\n", "0 0 4294967295"));
        assert!(!may_lock("", ""));
    }
}
