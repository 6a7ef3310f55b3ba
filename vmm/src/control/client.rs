//! One connection: lines come in, lines go out, and both are bounded.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use event_manager::{EventSet, Events};
use serde::Serialize;

use super::Request;

/// The longest line that is a request.
const LONGEST_LINE: usize = 4096;
/// How many bytes are read at a time.
const CHUNK: usize = 4096;
/// Who lets more than this wait is not listening.
const MOST_WAITING: usize = 1 << 20;

pub(super) struct Client {
    stream: UnixStream,
    mark: u32,
    /// The beginning of a line.
    begun: Vec<u8>,
    /// What has not been sent yet.
    waiting: Vec<u8>,
    /// No more is read: the other side has ended, or was not understood.
    closed: bool,
    /// Nothing can be sent any more.
    lost: bool,
}

impl Client {
    pub(super) fn new(stream: UnixStream, mark: u32) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, mark, begun: Vec::new(), waiting: Vec::new(), closed: false, lost: false })
    }

    /// What to wait for.
    pub(super) fn events(&self) -> Events {
        let room = if self.is_waiting() { EventSet::OUT } else { EventSet::empty() };
        let input = if self.closed { EventSet::empty() } else { EventSet::IN };
        Events::with_data(&self.stream, self.mark, input | room)
    }

    /// Whether something waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether there is nothing more to do with it.
    pub(super) fn has_ended(&self) -> bool {
        self.lost || self.closed && !self.is_waiting()
    }

    /// Reads a chunk of what there is; gives the requests that are complete.
    pub(super) fn read(&mut self) -> Vec<Result<Request, String>> {
        if self.closed {
            // Nobody is there to answer.
            self.lost = true;
            return Vec::new();
        }
        let mut chunk = [0; CHUNK];
        let length = match self.stream.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Vec::new();
            }
            Err(_) => 0,
        };
        if length == 0 {
            self.closed = true;
        }
        self.begun.extend_from_slice(&chunk[..length]);
        let mut requests = Vec::new();
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            if !line.trim_ascii().is_empty() {
                requests.push(Request::parse(&line));
            }
        }
        if self.begun.len() > LONGEST_LINE {
            self.begun.clear();
            self.closed = true;
            requests.push(Err(format!("A request has no more than {LONGEST_LINE} bytes")));
        }
        requests
    }

    /// Has a line sent, now or when there is room.
    pub(super) fn send(&mut self, line: &impl Serialize) {
        // Numbers, texts and lists of these always have a form.
        if let Ok(mut bytes) = serde_json::to_vec(line) {
            bytes.push(b'\n');
            self.waiting.extend(bytes);
        }
    }

    /// Sends what there is room for.
    pub(super) fn flush(&mut self) {
        while self.is_waiting() && !self.lost {
            match self.stream.write(&self.waiting) {
                Ok(0) => self.lost = true,
                Ok(sent) => drop(self.waiting.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.lost = true,
            }
        }
        self.lost |= self.waiting.len() > MOST_WAITING;
    }
}
