//! Message-signalled interrupts as functions send them.

/// A message-signalled interrupt before any remapping: a 32-bit write of `data` to `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// Where the function writes.
    pub address: u64,
    /// What it writes.
    pub data: u32,
}

/// What came of raising a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// The caller has to send this now.
    Send(Message),
    /// The vector is masked: its pending bit is set, and the message comes out when it is unmasked.
    Pending,
    /// Message-signalled interrupts are off, or there is no such vector.
    Off,
}
