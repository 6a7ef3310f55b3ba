//! The last resort.

/// Ends the program, which takes all mappings with it: a device reaches memory that nobody accounts for.
pub(super) fn stop(error: &dyn std::fmt::Display) -> ! {
    tracing::error!("The host does not take a device's mappings away ({error}): stopping, so that it must");
    std::process::abort();
}
