//! The guest's serial port on this terminal.

use std::io::{Write, stdin, stdout};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use event_manager::{EventOps, Events, MutEventSubscriber};
use vmm_sys_util::epoll::EventSet;

use super::power::{Outcome, PowerSwitch};
use crate::terminal::{HELP, Key, Keys};

/// Bytes taken from the terminal at a time.
const CHUNK: usize = 256;

/// Where keys go: the serial port's input.
pub(super) trait Input: Send {
    /// Offers bytes; gives how many were taken. The rest is offered again once there is room.
    fn enqueue(&mut self, bytes: &[u8]) -> usize;
}

/// Reads standard input for the guest.
pub(super) struct Console<I> {
    input: I,
    keys: Keys,
    power: Arc<PowerSwitch>,
}

impl<I: Input> Console<I> {
    /// A console that feeds `input`; Ctrl-A x ends the machine.
    pub(super) fn new(input: I, power: Arc<PowerSwitch>) -> Self {
        Self { input, keys: Keys::default(), power }
    }

    fn read(&mut self) -> std::io::Result<usize> {
        let mut bytes = [0; CHUNK];
        // Not through the standard library's buffer: what it holds back, nothing would wait for.
        let count = rustix::io::read(stdin(), &mut bytes)?;
        let mut guest = Vec::with_capacity(count);
        for &byte in &bytes[..count] {
            match self.keys.press(byte) {
                Key::Guest(byte) => guest.push(byte),
                Key::Quit => self.power.end(Outcome::Quit),
                Key::Help => {
                    let _ = stdout().write_all(HELP.as_bytes()).and_then(|()| stdout().flush());
                }
                Key::Nothing => {}
            }
        }
        // As on a real line, what the guest is too slow to take is lost.
        self.input.enqueue(&guest);
        Ok(count)
    }
}

impl<I: Input> MutEventSubscriber for Console<I> {
    fn process(&mut self, events: Events, ops: &mut EventOps) {
        let ended = match self.read() {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::Interrupted,
        };
        // At the end of a file or of a closed terminal there is nothing more to wait for.
        if ended {
            let _ = ops.remove(events);
        }
    }

    fn init(&mut self, ops: &mut EventOps) {
        // Regular files cannot be waited for, and say so; a guest without input is fine.
        if let Err(error) = ops.add(Events::new_raw(stdin().as_raw_fd(), EventSet::IN)) {
            tracing::debug!("Standard input is not waited for: {error:?}");
        }
    }
}
