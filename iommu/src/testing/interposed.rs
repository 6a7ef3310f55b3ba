//! Memory that tells of what happens to it.

use std::sync::Mutex;

use super::Memory;
use crate::{GuestAddress, MemoryError, TableMemory};

/// What happens at an address, once.
type At = Mutex<Option<(u64, Box<dyn FnOnce() + Send>)>>;

/// Memory in which something happens right after a certain read, and before a certain write.
pub(crate) struct Interposed {
    memory: Memory,
    after_read: At,
    before_write: At,
}

impl Interposed {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { memory, after_read: Mutex::default(), before_write: Mutex::default() }
    }

    /// Runs `hook` after the next read at `address`, which gives the value from before.
    pub(crate) fn after_read(&self, address: u64, hook: impl FnOnce() + Send + 'static) {
        *self.after_read.lock().unwrap() = Some((address, Box::new(hook)));
    }

    /// Runs `hook` before the next word is written at `address`.
    pub(crate) fn before_write(&self, address: u64, hook: impl FnOnce() + Send + 'static) {
        *self.before_write.lock().unwrap() = Some((address, Box::new(hook)));
    }

    fn run(at: &At, address: GuestAddress) {
        let hook = at.lock().unwrap().take_if(|(at, _)| *at == address.0);
        if let Some((_, hook)) = hook {
            hook();
        }
    }
}

impl TableMemory for Interposed {
    fn read_u64(&self, address: GuestAddress) -> Result<u64, MemoryError> {
        let value = self.memory.read_u64(address);
        Self::run(&self.after_read, address);
        value
    }

    fn write_u32(&self, address: GuestAddress, value: u32) -> Result<(), MemoryError> {
        Self::run(&self.before_write, address);
        self.memory.write_u32(address, value)
    }

    fn compare_exchange_u64(
        &self,
        address: GuestAddress,
        current: u64,
        new: u64,
    ) -> Result<Result<u64, u64>, MemoryError> {
        self.memory.compare_exchange_u64(address, current, new)
    }

    fn fetch_or_u64(&self, address: GuestAddress, set: u64) -> Result<u64, MemoryError> {
        self.memory.fetch_or_u64(address, set)
    }
}
