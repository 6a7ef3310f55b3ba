//! Where the vCPUs' accesses to ports and to device memory come in.

/// A run of I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// How many, at least one.
    pub count: u16,
}

impl PortRange {
    /// `count` ports from `first` on.
    pub const fn new(first: u16, count: u16) -> Self {
        Self { first, count }
    }

    /// Whether `port` is one of them.
    pub const fn contains(self, port: u16) -> bool {
        port >= self.first && port - self.first < self.count
    }
}

/// Something that answers at fixed I/O ports.
///
/// Accesses are 1 to 8 bytes long and begin inside one of [`ports`](Self::ports); they may run past its end,
/// where the device answers as an empty bus does. Every method may be called from several vCPU threads at
/// once.
pub trait PortDevice: Send + Sync {
    /// The ports it claims.
    fn ports(&self) -> Vec<PortRange>;

    /// Reads from the ports that begin at `port`, a port number and not an offset: one device may own
    /// several ranges. All of `data` is written.
    fn read(&self, port: u16, data: &mut [u8]);

    /// Writes to the ports that begin at `port`. The effect is complete on return.
    fn write(&self, port: u16, data: &[u8]);
}

/// Something that answers at a range of guest-physical addresses.
///
/// Accesses are 1 to 8 bytes long and begin inside the range. Every method may be called from several vCPU
/// threads at once.
pub trait MmioDevice: Send + Sync {
    /// Reads at `offset` from the start of the range. All of `data` is written.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// Writes at `offset` from the start of the range. The effect is complete on return.
    fn write(&self, offset: u64, data: &[u8]);
}

/// What a read finds where nothing answers.
pub const EMPTY_BUS: u8 = 0xFF;

/// Reads byte by byte, as the ISA bridge does for a wide access to devices of 8 bits.
pub(crate) fn read_each(port: u16, data: &mut [u8], mut read: impl FnMut(u16) -> u8) {
    data.fill(EMPTY_BUS);
    for (byte, port) in data.iter_mut().zip(port..=u16::MAX) {
        *byte = read(port);
    }
}

/// Writes byte by byte, as the ISA bridge does for a wide access to devices of 8 bits.
pub(crate) fn write_each(port: u16, data: &[u8], mut write: impl FnMut(u16, u8)) {
    for (&byte, port) in data.iter().zip(port..=u16::MAX) {
        write(port, byte);
    }
}
