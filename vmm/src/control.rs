//! The control socket: how a person or a program changes a machine that runs.
//!
//! A Unix socket of the stream kind, for its owner only. Each line that comes in is one request, each is
//! answered by one line, and what happens in the machine is told to everybody who listens; all lines are JSON.
//! [`Request`] says what can be asked. The event loop serves it: no processor ever waits for it.

mod client;
mod protocol;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use event_manager::{EventOps, EventSet, Events};
use rustix::fs::Mode;

use client::Client;
pub use protocol::{Answer, Happening, Request};

/// How many may be connected at once; who comes then is sent away.
const MOST_CLIENTS: usize = 16;

/// The socket and who is connected to it.
///
/// It marks its events with `first_mark` and above: the subscriber that it is part of hands those to
/// [`Control::ready`].
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    first_mark: u32,
    clients: BTreeMap<u32, Client>,
    next: u32,
}

/// A request, and whom to answer.
#[derive(Debug)]
pub struct Asked {
    /// Who asks.
    pub client: u32,
    /// What; or why that cannot be said.
    pub request: Result<Request, String>,
}

impl Control {
    /// Makes the socket. What a program that has ended left at `path` goes; anything else there is refused.
    pub fn open(path: &Path, first_mark: u32) -> io::Result<Self> {
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
        let is_dead = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
        if is_socket && UnixStream::connect(path).is_err_and(is_dead) {
            std::fs::remove_file(path)?;
        }
        // No other thread makes files: the machine is still being built.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener?;
        let control =
            Self { listener, path: path.to_owned(), first_mark, clients: BTreeMap::new(), next: first_mark };
        control.listener.set_nonblocking(true)?;
        Ok(control)
    }

    /// Begins to listen.
    pub fn init(&self, ops: &mut EventOps) {
        let events = Events::with_data(&self.listener, self.first_mark, EventSet::IN);
        if let Err(error) = ops.add(events) {
            tracing::error!("The control socket cannot be watched: {error}");
        }
    }

    /// Serves what is ready at `mark`; gives what is asked. All of it has to be answered.
    pub fn ready(&mut self, mark: u32, set: EventSet, ops: &mut EventOps) -> Vec<Asked> {
        if mark == self.first_mark {
            self.accept(ops);
            return Vec::new();
        }
        let Some(client) = self.clients.get_mut(&mark) else { return Vec::new() };
        // What is left to be read after a hang-up is read; there is nobody to answer only after that.
        let asked = if set.intersects(EventSet::IN | EventSet::HANG_UP | EventSet::ERROR) {
            client.read()
        } else {
            Vec::new()
        };
        // Who has asked stays until answered.
        if asked.is_empty() {
            self.settle(mark, ops);
        }
        asked.into_iter().map(|request| Asked { client: mark, request }).collect()
    }

    /// Answers a request.
    pub fn answer(&mut self, client: u32, answer: &Answer, ops: &mut EventOps) {
        if let Some(found) = self.clients.get_mut(&client) {
            found.send(answer);
            self.settle(client, ops);
        }
    }

    /// Tells everybody what has happened.
    pub fn tell(&mut self, happening: &Happening, ops: &mut EventOps) {
        let everybody: Vec<_> = self.clients.keys().copied().collect();
        for mark in everybody {
            if let Some(client) = self.clients.get_mut(&mark) {
                client.send(happening);
            }
            self.settle(mark, ops);
        }
    }

    fn accept(&mut self, ops: &mut EventOps) {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => {
                tracing::warn!("A connection to the control socket was lost: {error}");
                return;
            }
        };
        if self.clients.len() >= MOST_CLIENTS {
            tracing::warn!("The control socket has {MOST_CLIENTS} connections already");
            return;
        }
        // Numbers are not used again while somebody has them.
        let mark = loop {
            self.next = self.next.checked_add(1).unwrap_or(self.first_mark + 1);
            if !self.clients.contains_key(&self.next) {
                break self.next;
            }
        };
        match Client::new(stream, mark) {
            Ok(client) => {
                if let Err(error) = ops.add(client.events()) {
                    tracing::error!("A connection to the control socket cannot be watched: {error}");
                    return;
                }
                self.clients.insert(mark, client);
            }
            Err(error) => tracing::warn!("A connection to the control socket was lost: {error}"),
        }
    }

    /// Sends what can be sent, waits for room for the rest, and lets go of who has gone.
    fn settle(&mut self, mark: u32, ops: &mut EventOps) {
        let Some(client) = self.clients.get_mut(&mark) else { return };
        let waited = client.is_waiting();
        client.flush();
        if client.has_ended() {
            let _ = ops.remove(client.events());
            self.clients.remove(&mark);
        } else if client.is_waiting() != waited
            && let Err(error) = ops.modify(client.events())
        {
            tracing::error!("A connection to the control socket cannot be watched: {error}");
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("The control socket {} cannot be removed: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests;
