//! The terminal: raw while a guest owns it, and given back whatever happens.

use std::io::{IsTerminal, stdin};
use std::sync::{Mutex, Once, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// What was set before; kept where a panic hook finds it.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// The key that starts a command to the program itself.
const ESCAPE: u8 = 1;

/// Keeps the terminal raw; dropping it restores what was.
pub struct RawTerminal(());

impl RawTerminal {
    /// Makes standard input raw if it is a terminal; otherwise there is nothing to do.
    pub fn enter() -> Option<Self> {
        if !stdin().is_terminal() {
            return None;
        }
        let before = tcgetattr(stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        restore_on_panic();
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(before) = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}

fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            hook(info);
        }));
    });
}

/// What a key pressed at the terminal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A byte for the guest.
    Guest(u8),
    /// Ctrl-A x: quit.
    Quit,
    /// Ctrl-A h: say which keys there are.
    Help,
    /// Nothing yet.
    Nothing,
}

/// Tells the guest's keys from the program's: Ctrl-A starts a command, Ctrl-A twice sends one Ctrl-A.
#[derive(Default)]
pub struct Keys {
    escaped: bool,
}

impl Keys {
    /// What this byte means after those before it.
    pub fn press(&mut self, byte: u8) -> Key {
        match (std::mem::take(&mut self.escaped), byte) {
            (false, ESCAPE) => {
                self.escaped = true;
                Key::Nothing
            }
            (false, byte) | (true, byte @ ESCAPE) => Key::Guest(byte),
            (true, b'x' | b'X') => Key::Quit,
            (true, b'h' | b'H' | b'?') => Key::Help,
            (true, _) => Key::Nothing,
        }
    }
}

/// What Ctrl-A h shows.
pub const HELP: &str =
    "\r\nCtrl-A x  quit\r\nCtrl-A h  this help\r\nCtrl-A Ctrl-A  send Ctrl-A to the guest\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_a_starts_a_command_and_twice_sends_itself() {
        let mut keys = Keys::default();
        let mut press = |bytes: &[u8]| bytes.iter().map(|byte| keys.press(*byte)).collect::<Vec<_>>();
        assert_eq!(press(b"a\x01x"), [Key::Guest(b'a'), Key::Nothing, Key::Quit]);
        assert_eq!(press(b"\x01\x01x"), [Key::Nothing, Key::Guest(1), Key::Guest(b'x')]);
        assert_eq!(
            press(b"\x01h\x01qz"),
            [Key::Nothing, Key::Help, Key::Nothing, Key::Nothing, Key::Guest(b'z')]
        );
    }
}
