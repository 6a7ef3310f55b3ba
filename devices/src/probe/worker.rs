//! Runs: a command block, or a script of them in memory, carried out on a thread of the device's own.

use std::sync::{Arc, PoisonError};

use iommu::Iova;

use super::Inner;
use super::command::{ANSWER, Answer, BLOCK_SIZE, Command, Flags, Status};
use super::engine::Engine;
use super::registers::{Job, Script, at, status};

/// Carries out what the doorbell asks for, until the device goes away.
pub(super) fn work(inner: &Arc<Inner>) {
    while let Some((job, run)) = inner.next_job() {
        let mut engine = Engine::new(inner, run);
        let mut failed = false;
        match job {
            Job::Block(block) => {
                let answer = answer(&mut engine, &block);
                inner.while_current(run, |registers| {
                    registers.answer(&answer.bytes());
                    registers.set(at::FINISHED, 1);
                });
            }
            Job::Script(script) => failed = !run_script(inner, &mut engine, run, script),
        }
        inner.end(run, if failed { status::SCRIPT_FAILED } else { 0 });
    }
}

fn answer(engine: &mut Engine<'_>, block: &[u8; BLOCK_SIZE]) -> Answer {
    match Command::parse(block) {
        Some(command) => engine.execute(&command),
        None => Answer::new(Status::Malformed),
    }
}

/// Runs the blocks in memory one by one, each read when its turn has come; `false` if one could not be read, or its
/// answer not written.
fn run_script(inner: &Inner, engine: &mut Engine<'_>, run: u64, script: Script) -> bool {
    let requests = inner.function.master().requests(script.flags.attributes(script.pasid));
    for index in 0..script.count {
        let address = script.address.wrapping_add(u64::from(index) * BLOCK_SIZE as u64);
        let mut block = [0; BLOCK_SIZE];
        if requests.read(Iova(address), &mut block).is_err() {
            return false;
        }
        let answer = answer(engine, &block);
        if engine.stopped() {
            return true;
        }
        // The status goes last: who sees it sees the rest.
        let bytes = answer.bytes();
        let (word, rest) = bytes.split_at(4);
        let written = requests
            .write(Iova(address.wrapping_add(ANSWER as u64 + 4)), rest)
            .and_then(|()| requests.write(Iova(address.wrapping_add(ANSWER as u64)), word));
        if written.is_err() {
            return false;
        }
        inner.while_current(run, |registers| registers.set(at::FINISHED, index + 1));
        let flags = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
        if answer.status != Status::Done && flags & Flags::GO_ON.bits() == 0 {
            break;
        }
    }
    true
}

impl Inner {
    /// The next job and its run; waits for it. None when the device has gone.
    fn next_job(&self) -> Option<(Job, u64)> {
        let mut state = self.state();
        loop {
            if state.gone {
                return None;
            }
            if let Some(job) = state.job.take() {
                return Some((job, self.run()));
            }
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
