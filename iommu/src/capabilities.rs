//! What a unit can do: the capability registers, built by name.

/// The values of CAP_REG and ECAP_REG (§11.4.2, §11.4.3) and what follows from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {}

impl Capabilities {
    /// Legacy mode, complete: second-stage tables of `width` bits (39 or 48), 2 MiB and 1 GiB pages,
    /// pass-through, queued invalidation, caching mode, interrupt remapping with extended interrupt mode.
    pub fn legacy(_width: u8) -> Self {
        todo!()
    }
}
