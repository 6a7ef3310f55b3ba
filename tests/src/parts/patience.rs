//! Waiting for a kernel that another process is building, but not for ever: the run of all tests has its time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Kernel, Parts, folder_in_use, kernel, kernel_build};
use crate::lock::Lock;

/// The environment variable that says until when sessions wait, in seconds since 1970.
pub const VARIABLE: &str = "PORTCULLIS_WAIT_UNTIL";

/// Until when, if somebody has said so.
pub fn until() -> Option<SystemTime> {
    let seconds = std::env::var(VARIABLE).ok()?.parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

impl Parts {
    /// Waits for the kernel `which` while it is being built elsewhere, as long as it is not yet `until`; whether it is
    /// there then. Where nobody builds it, whoever asks for it next will, and learn what is wrong.
    pub fn await_kernel(&self, which: Kernel, until: SystemTime) -> bool {
        while !self.has_kernel(which) && Lock::is_held(&self.lock_of(&kernel_build::name())) {
            if SystemTime::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_secs(2));
        }
        true
    }

    /// Whether the kernel `which` need not be built.
    fn has_kernel(&self, which: Kernel) -> bool {
        let current = self.cache.join("parts").join(format!("{}.current", kernel_build::name()));
        which != Kernel::Iommufd
            || kernel::IOMMUFD_IMAGE.path().is_some()
            || folder_in_use(&self.cache.join("parts"), &current).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_kernel_gives_up_at_the_moment_named() {
        let cache = std::env::temp_dir().join(format!("portcullis-patience-{}", std::process::id()));
        let parts = Parts { cache: cache.clone() };
        let name = kernel_build::name();
        std::fs::create_dir_all(cache.join("parts").join("made")).unwrap();
        assert!(parts.await_kernel(Kernel::Iommufd, UNIX_EPOCH), "nobody builds it");
        let lock = Lock::take(&parts.lock_of(&name), "a test").unwrap();
        assert!(!parts.await_kernel(Kernel::Iommufd, UNIX_EPOCH), "it is being built, and the time is over");
        assert!(parts.await_kernel(Kernel::Debian, UNIX_EPOCH), "others are not built");
        std::fs::write(cache.join("parts").join(format!("{name}.current")), "made").unwrap();
        assert!(parts.await_kernel(Kernel::Iommufd, UNIX_EPOCH), "it has been built");
        drop(lock);
        std::fs::remove_dir_all(cache).unwrap();
    }
}
