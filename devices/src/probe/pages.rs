//! Page requests that wait for an answer, and the answers.

use std::collections::VecDeque;

use iommu::{PageResponse, PageResponseCode, Pasid};

/// Answers kept for the guest to read; the oldest makes room for the next.
const MOST_ANSWERS: usize = 64;
/// Group indices there are.
const GROUPS: u16 = 512;

/// Groups of page requests.
#[derive(Default)]
pub(super) struct Pages {
    waiting: Vec<Group>,
    answers: VecDeque<PageResponse>,
    /// The group that the worker waits for, and its answer.
    awaited: Option<(Group, Option<PageResponseCode>)>,
    /// The group index to use next, where the command names none.
    next: u16,
}

/// A group of requests that has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    index: u16,
    pasid: Option<Pasid>,
    /// Requests in it.
    requests: u32,
}

impl Pages {
    /// Requests that have not been answered.
    fn unanswered(&self) -> u32 {
        self.waiting.iter().map(|group| group.requests).sum()
    }

    /// A group index that waits for nothing.
    pub(super) fn free_group(&mut self) -> u16 {
        let waiting = &self.waiting;
        let free = |index: &u16| waiting.iter().all(|group| group.index != *index);
        let index = (0..GROUPS).map(|step| (self.next + step) % GROUPS).find(free).unwrap_or(self.next);
        self.next = (index + 1) % GROUPS;
        index
    }

    /// Notes a request that is about to be sent, of which `granted` may be unanswered; `false` if it is one too many.
    pub(super) fn begin(&mut self, index: u16, pasid: Option<Pasid>, granted: u32, awaited: bool) -> bool {
        if self.unanswered() >= granted {
            return false;
        }
        let same = |group: &&mut Group| (group.index, group.pasid) == (index, pasid);
        let group = if let Some(group) = self.waiting.iter_mut().find(same) {
            group.requests += 1;
            *group
        } else {
            let group = Group { index, pasid, requests: 1 };
            self.waiting.push(group);
            group
        };
        if awaited {
            self.awaited = Some((group, None));
        }
        true
    }

    /// Takes an answer; tells whether its group waited for one.
    pub(super) fn answer(&mut self, response: &PageResponse) -> bool {
        let same = |group: &Group| (group.index, group.pasid) == (response.group, response.pasid);
        let waited = self.waiting.iter().any(same);
        self.waiting.retain(|group| !same(group));
        if let Some((group, code)) = &mut self.awaited
            && same(group)
        {
            *code = Some(response.code);
        }
        if self.answers.len() == MOST_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(*response);
        waited
    }

    /// The answer the worker waits for, if it has come.
    pub(super) fn awaited(&self) -> Option<PageResponseCode> {
        self.awaited.and_then(|(_, code)| code)
    }

    /// How many answers the guest has not taken, and the oldest of them.
    pub(super) fn answers(&self) -> (usize, Option<PageResponse>) {
        (self.answers.len(), self.answers.front().copied())
    }

    /// Takes the oldest answer away.
    pub(super) fn pop(&mut self) {
        self.answers.pop_front();
    }

    /// Waits for nothing any more, and remembers no answer.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Waits for nothing any more.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests;
