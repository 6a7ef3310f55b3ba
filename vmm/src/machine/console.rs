//! The guest's serial port on this terminal.

use std::io::{Write, stdin, stdout};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use devices::platform::Serial;
use event_manager::{EventOps, Events, MutEventSubscriber};
use vmm_sys_util::epoll::EventSet;

use super::power::{Outcome, PowerSwitch};
use crate::terminal::{HELP, Key, Keys};

/// Bytes taken from the terminal at a time.
const CHUNK: usize = 256;
/// Mark of the event that says the serial port has room again.
const ROOM: u32 = 1;

/// Reads standard input for the guest. While the guest does not take what there is, nothing more is read.
pub(super) struct Console {
    serial: Arc<Serial>,
    keys: Keys,
    power: Arc<PowerSwitch>,
    waiting: Vec<u8>,
}

impl Console {
    /// A console that feeds `serial`; Ctrl-A x ends the machine.
    pub(super) fn new(serial: Arc<Serial>, power: Arc<PowerSwitch>) -> Self {
        Self { serial, keys: Keys::default(), power, waiting: Vec::new() }
    }

    /// Takes what standard input has; gives how much, 0 at its end.
    fn read(&mut self) -> std::io::Result<usize> {
        let mut bytes = [0; CHUNK];
        // Not through the standard library's buffer: what it holds back, nothing would wait for.
        let count = rustix::io::read(stdin(), &mut bytes)?;
        for &byte in &bytes[..count] {
            match self.keys.press(byte) {
                Key::Guest(byte) => self.waiting.push(byte),
                Key::Quit => self.power.end(Outcome::Quit),
                Key::Help => {
                    let _ = stdout().write_all(HELP.as_bytes()).and_then(|()| stdout().flush());
                }
                Key::Nothing => {}
            }
        }
        Ok(count)
    }

    /// Gives the guest what waits; tells whether it took everything.
    fn feed(&mut self) -> bool {
        let taken = self.serial.enqueue(&self.waiting);
        self.waiting.drain(..taken);
        self.waiting.is_empty()
    }

    fn keyboard() -> Events {
        Events::new_raw(stdin().as_raw_fd(), EventSet::IN)
    }
}

impl MutEventSubscriber for Console {
    fn process(&mut self, events: Events, ops: &mut EventOps) {
        if events.data() == ROOM {
            let _ = self.serial.room().read();
            let waited = !self.waiting.is_empty();
            if self.feed() && waited {
                let _ = ops.add(Self::keyboard());
            }
            return;
        }
        let ended = match self.read() {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::Interrupted,
        };
        // At the end of a file or of a closed terminal there is nothing more to wait for.
        if !self.feed() || ended {
            let _ = ops.remove(Self::keyboard());
        }
    }

    fn init(&mut self, ops: &mut EventOps) {
        let room = Events::with_data(self.serial.room(), ROOM, EventSet::IN);
        if let Err(error) = ops.add(room).and_then(|()| ops.add(Self::keyboard())) {
            // Regular files cannot be waited for; a guest without input is fine.
            tracing::debug!("Standard input is not waited for: {error:?}");
        }
    }
}
