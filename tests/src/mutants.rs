//! Defects planted on purpose, each of them one that somebody made in an emulated IOMMU before, and the test that
//! has to notice it.
//!
//! `cargo xtask mutants` plants them one at a time in a copy of the workspace and runs the test that each names; one
//! that survives is a hole in the tests. `cargo xtask mutants --list` prints all of them.
//!
//! What was done wrong elsewhere, or published as a vulnerability, and the mutants that do it here. The field
//! [`Mutant::killed_by`] has the test.
//!
//! Translation and its caches:
//! - An address beyond the context entry's width aliases a low one: `width-unchecked`, `width-unchecked-on-hit`,
//!   `alias-in-shadow`.
//! - A hit in the IOTLB allows what the page does not: `hit-ignores-permission`.
//! - Small pages and large ones outlive each other in caches: `large-page-stays`, `small-pages-stay`.
//! - An invalidation that is missed, or takes less than it names: `page-flush-too-short`,
//!   `context-flush-ignores-mask`, `domain-flush-missed`, `shadow-flush-too-short`, `shadow-flush-ignores-mask`.
//! - What was looked up before an invalidation is cached after it: `late-fill`, `epoch-ends-early`.
//! - An invalidation leaves what was made from what it names: `answers-outlive-invalidation`, `nested-pages-stay`.
//! - A new first stage is mixed with the old one: `inner-tables-without-root`.
//! - An earlier answer allows what the tables do not: `answers-ignore-permission`, `answers-ignore-privilege`.
//! - The invalidation hint means its opposite: `hint-reversed`.
//! - A full cache takes nothing new: `evicted-never`.
//! - Something is used while it is changed: `torn-value`.
//! - Requests under way are not waited for: `request-unfenced`, `drain-unfenced`, `drain-stops-at-one`,
//!   `drain-forgets-the-unnumbered`.
//! - A domain's number is used again and shows the former domain's pages: `domain-flush-missed`, `domain-unnoticed`.
//! - Functions share what one of them may do: `functions-share-context`.
//! - The interrupt range is memory like any other: `interrupt-range-translated`, `interrupt-range-mapped`.
//! - Tables that point to themselves are walked for ever: `walk-unbounded`.
//!
//! Scalable mode:
//! - The PASID is not all of it, or not the one that counts: `pasid-of-eight-bits`, `rid-pasid-ignored`,
//!   `rid-pasid-anywhere`, `pasid-limit-unchecked`, `pasid-enable-ignored`, `upper-half-by-other-bit`.
//! - Reserved bits are accepted, features used that the unit does not offer: `directory-bits-accepted`,
//!   `pasid-entry-half-checked`, `five-levels-unasked`, `gigabyte-pages-unasked`, `large-page-type-reserved`.
//! - What is not to be recorded is: `directory-silence-ignored`, `abort-recorded`, `missing-page-recorded`,
//!   `protected-recorded`.
//! - Address spaces share what is cached: `pasids-share-pages`, `roots-share-tables`.
//! - An invalidation that is missed, or takes less than it names: `pasid-flush-by-domain-missed`,
//!   `pasid-flush-of-another`, `inner-table-outlives-flush`, `nested-outlives-second-stage`,
//!   `first-stage-mask-bounded`.
//!
//! First stages and nested ones:
//! - Privilege, protection or execution does not count: `user-bit-ignored`, `write-protect-ignored`,
//!   `execute-disable-ignored`, `supervisor-unasked`.
//! - An address that is not canonical aliases one that is: `canonical-unchecked`.
//! - A page is dirty that was not written, or the other way round: `denied-write-dirties`, `dirty-from-the-cache`,
//!   `second-stage-unmarked`, `inner-entries-unmarked`, `extended-accessed-unasked`.
//! - Marks are written where they must not be, over what the guest has changed, or for ever: `unsnooped-walk-marks`,
//!   `mark-restores-entry`, `marking-without-end`.
//! - One of the stages does not count: `nested-tables-untranslated`, `nested-page-too-large`,
//!   `nested-marks-by-reading`, `nested-rights-of-first-stage`.
//!
//! Device-TLBs and page requests:
//! - A device learns more than it may use: `no-write-ignored`, `interrupts-translated-ahead`, `answer-over-interrupts`,
//!   `answer-over-interrupt-requests`, `execution-unasked`.
//! - What a device does not get is marked as if it did: `read-only-nested-page-dirty`.
//! - Translated addresses are believed from anyone, and any of them: `translated-by-anyone`,
//!   `translated-by-anyone-in-legacy-mode`, `translated-beyond-memory`.
//! - An invalidation counts as done that is not: `absent-device-answers`, `wrong-answer-unnoticed`,
//!   `device-range-wraps`, `device-pasids-kept`.
//! - Records do not say what was asked: `translation-request-recorded-as-read`, `record-without-pasid`.
//! - Page requests come from anyone, in spite of an overflow, or with too many interrupts: `page-requests-by-anyone`,
//!   `overflow-forgotten`, `every-page-request-an-event`.
//! - A page request finds its page as it was: `page-request-keeps-page`.
//! - Requests and answers do not fit together: `stop-marker-answered`, `page-request-without-privilege`,
//!   `response-with-any-pasid`.
//! - Descriptors of 256 bits are looked at in part, taken in the wrong mode, or never end: `upper-half-unchecked`,
//!   `scalable-types-in-legacy-mode`, `tail-within-descriptor`.
//!
//! Protected memory:
//! - It ends too early, or is open to some: `protected-without-its-end`, `protected-from-tables-only`,
//!   `protected-from-its-start-only`.
//!
//! Queue and registers:
//! - The queue's tail is not checked against its size, and a ring of valid descriptors never ends: `tail-unchecked`.
//! - A queue full of costly work holds a processor: `queue-in-one-go`.
//! - Completion is told before the effects: `early-wait`, `undrained-wait`, `early-translation-status`,
//!   `early-root-status`, `early-register-completion`, `early-head`.
//! - DMA arrives after the page has been given away: `undrained-wait`, `late-fill`.
//! - A wait descriptor with both ways to tell, or with reserved bits: `wait-tells-half`, `wait-reserved-accepted`.
//! - A mask of up to 63 shifts out of range: `address-mask-unchecked`.
//! - An access of an odd size does something: `odd-size-acts`, `misaligned-acts`.
//! - Writing one to clear a bit clears its neighbours: `status-write-clears-all`, `record-write-clears-all`,
//!   `config-write-clears-all`.
//! - The queue goes on, or tells that all is done, although a device has not answered: `time-out-ignored`,
//!   `timed-out-wait-completes`.
//! - A device keeps what it was to forget: `device-range-halved`.
//! - Descriptors of one mode are taken in another: `queue-width-unchecked`.
//! - What was left for later never happens: `stop-drops-the-rest`.
//! - A domain that the unit cannot tell from another is taken: `domain-beyond-width-accepted`.
//! - Page requests are lost, or told too early: `page-requests-overwritten`, `page-request-drain-skipped`.
//! - The completion event comes before the status of the same wait: `event-before-status`.
//! - Page requests are written where no queue is: `page-requests-around-the-end`.
//! - What the unit cannot do can be switched on all the same: `registers-without-feature`, `commands-without-feature`.
//!
//! Saving and restoring:
//! - What was there before shows through: `restored-unit-remembers`, `restored-routes-stay`.
//! - What was going on does not go on: `restored-ring-begins-anew`, `restored-queue-stands-still`,
//!   `silent-device-forgotten`.
//! - Bytes are believed: `damaged-state-accepted`.
//!
//! Faults:
//! - A record lacks the function's number, the status the record's index, the record the interrupt's index:
//!   `record-without-function`, `status-without-index`, `record-without-interrupt-index`.
//! - A fault before software has set its event up is an interrupt with vector 0: `event-open-at-reset`,
//!   `masked-event-sent`, `masked-event-lost`.
//! - A flood of faults is endless work for somebody: `flood-overwrites`.
//!
//! Interrupts:
//! - The range of buses is the wrong way round, or a reserved kind of validation lets everybody in:
//!   `bus-range-reversed`, `reserved-validation-accepted`.
//! - A function raises the interrupts of another: `source-unchecked`, `requester-without-bus`.
//! - Compatibility format passes although it is not allowed: `compatibility-passes`.
//! - Old routes survive a switch, a new table, a reset, an invalidation: `switch-keeps-routes`, `table-keeps-routes`,
//!   `reset-keeps-routes`, `invalidation-keeps-routes`, `machine-keeps-routes`.
//! - An entry made invalid leaves its route live: `blocked-entry-keeps-route`, `blocked-entry-keeps-irqfd`.
//! - Any invalidation makes every route anew: `every-route-anew`.
//! - An interrupt written by DMA passes by remapping, or is translated: `dma-interrupt-unremapped`,
//!   `interrupt-range-translated`.
//! - What one vector is programmed with costs others their interrupts: `bad-message-in-table`.
//! - A pending interrupt is lost when it is unmasked: `msix-pending-lost`, `held-signal-lost`.
//! - A level that is still asserted is not sent again after its end: `level-not-sent-again`.
//!
//! Posting:
//! - Software is notified too often, or in spite of itself: `notified-twice`, `suppression-ignored`,
//!   `outstanding-not-noted`.
//! - A descriptor is another, or has reserved bits set, or the unit does not post: `descriptor-cut-short`,
//!   `descriptor-bits-accepted`, `posting-unasked`.
//! - A function posts the interrupts of another: `posted-source-unchecked`.
//! - Software is not notified when it has to be: `urgent-suppressed`, `stale-outstanding-believed`.
//! - A descriptor that changes is not looked at again, or for ever: `descriptor-judged-once`, `posting-without-end`.
//! - Completion is told while an interrupt is still on its way: `interrupts-undrained`.
//!
//! Counters and state:
//! - Counters count what they should not: `frozen-counters-count`, `filters-ignored`, `counter-number-unchecked`,
//!   `counter-operand-cut`, `lookup-counted-as-hit`, `dropped-request-counted`, `overflow-too-early`.
//! - An overflow is told too often, or forgotten: `overflow-told-each-time`, `overflow-status-overwritten`.
//! - A state is believed that contradicts itself: `state-registers-believed`, `state-modes-believed`,
//!   `state-head-believed`, `state-regions-believed`.
//!
//! The shadow of the guest's tables:
//! - Tables of scalable mode are followed by the wrong entry, or although nobody could mark them:
//!   `pasid-entry-replaced-unnoticed`, `marked-table-followed`.
//! - A host goes on by what it has walked: `first-stage-remembered`, `host-that-does-not-forget`.
//! - Requests with PASID go on by an entry that is gone or refused, or by another's: `pasid-outlives-entry`,
//!   `refused-pasid-stays`, `pasid-zero-like-any`, `pasids-of-any-function`.
//! - One invalidation may take as long as a guest likes: `any-number-of-tables`.
//! - An erratum of the host's unit does not count: `erratum-ignored`.
//! - A flush unmaps everything first, and unrelated DMA fails: `flush-unmaps-all`.
//! - A large page is split or merged by unmapping a part of it: `split-unmapped-in-part`, `split-loses-rest`.
//! - What one descriptor did not bring becomes one mapping, and can only go as one: `flush-coalesces`,
//!   `neighbours-coalesced`.
//! - What is announced before one wait is not all carried out: `batch-forgets-ranges`, `batch-lost-at-error`.
//! - A group comes into an address space that is not ready for it: `newcomer-trusts-space`, `space-entered-empty`.
//! - A group that cannot move stays, or never moves again: `refused-move-stays`, `refused-move-forgotten`.
//! - Functions that the host cannot tell apart are told apart: `contradiction-ignored`.
//! - What nobody is in is kept: `empty-space-kept`.
//! - What the host refused counts as mapped, or is never asked for again: `refused-map-committed`,
//!   `refused-map-forgotten`.
//! - New mappings come before old ones have gone: `map-before-unmap`.
//! - Every device pins all memory, used or not: `identity-without-bus-master`.
//! - A BAR as a DMA target ends the machine, or spoils the mappings beside it: `bar-target-panics`,
//!   `bar-target-poisons`, `bar-target-unchecked`.
//! - A BAR is found where it was: `bar-found-where-it-was`.
//! - The host's limit of mappings is run against for ever: `full-host-asked-again`.
//! - What a guest makes the host keep has no bound: `mapped-times-over`.
//! - A mapping that fails half-way leaves pages pinned: `failed-map-leaves-half`.
//! - Regions that the host reserves for a device are not minded: `direct-region-ignored`.
//!
//! Devices:
//! - Memory that a bridge does not forward, or that is switched off, answers: `window-ignored`, `disabled-bar-answers`.
//! - What comes through a bridge from conventional PCI bears another requester ID than the bridge's alias:
//!   `alias-unknown`, `alias-with-device`, `alias-not-in-dma`, `alias-not-in-shadow`, `alias-not-in-routes`.
//! - A conventional bus passes on what it cannot: `extended-space-behind-bridge`.
//! - A device sends what it has no address lines or no permission for: `edu-mask-ignored`, `bus-master-ignored`.
//! - A device goes by a translation that was taken back, is another's, or permits less: `late-translation-kept`,
//!   `invalidation-answered-early`, `translations-outlive-service`, `translation-of-another-pasid`,
//!   `translation-to-read-writes`.
//! - The answer to a page request is taken for that to another: `answer-to-another-pasid`.
//!
//! Hot-plug:
//! - What was pulled out is still used, reached or sending: `removal-waits-for-nobody`, `removed-bars-stay`,
//!   `removed-function-sends`, `failed-function-stays`.
//! - What the guest says to a slot does not count, or means more than it said: `slot-power-ignored`,
//!   `slot-events-unasked`, `released-without-asking`.
//! - An event is lost: `slot-interrupts-once`.
//! - What comes finds no room: `empty-slot-without-room`.
//! - It gets what was meant for the one before: `news-of-the-last`.
//! - Hardware that is gone for good counts as wanted back: `gone-hardware-wanted`.
//! - A reset leaves what it should not: `reset-keeps-registers`.
//! - Anybody can change the machine, or make it work or keep without bound: `control-for-everybody`,
//!   `control-takes-any-file`, `request-without-end`, `answers-pile-up`.
//!
//! One mistake has no mutant, since no small change makes it: DMA into a device's own registers, or another's. A
//! bus master holds guest RAM and nothing else; the test a_translation_that_ends_outside_of_ram_reaches_nothing
//! shows it.

mod caches;
mod counters;
mod devices;
mod faults;
mod interrupts;
mod posting;
mod protected;
mod queue;
mod requests;
mod scalable;
mod scratch;
mod shadow;
mod slots;
mod stages;
mod state;
#[cfg(test)]
mod tests;
mod translation;
mod trial;

use std::path::PathBuf;

pub use trial::{Outcome, Trial, Verdict, Workshop};

/// One defect.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// What it is called.
    pub name: &'static str,
    /// What is wrong then, in one sentence.
    pub why: &'static str,
    /// The file it is planted in, from the workspace's folder.
    pub file: &'static str,
    /// The text that it takes the place of; exactly one such text is in the file.
    pub find: &'static str,
    /// The defect.
    pub replace: &'static str,
    /// The test that fails with it.
    pub killed_by: Test,
}

/// A test of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// The package it belongs to.
    pub package: &'static str,
    /// The integration test it is in; `None` in the package's library.
    pub target: Option<&'static str>,
    /// Its path in there, as the test harness prints it.
    pub name: &'static str,
    /// Whether the mutant may make it hang instead of fail.
    pub may_hang: bool,
}

/// Why a mutant cannot be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The mutant {name} has to be brought up to date: its text is {count} times in {file}")]
pub struct Rotten {
    name: &'static str,
    file: &'static str,
    count: usize,
}

/// Every mutant, those of one package together: that saves building.
pub fn all() -> Vec<Mutant> {
    [
        translation::ALL,
        caches::ALL,
        scalable::ALL,
        stages::ALL,
        requests::ALL,
        protected::ALL,
        queue::ALL,
        state::ALL,
        faults::ALL,
        interrupts::ALL,
        posting::ALL,
        counters::ALL,
        shadow::ALL,
        devices::ALL,
        slots::ALL,
    ]
    .concat()
}

impl Mutant {
    /// `text`, the content of its file, with the defect in it.
    pub fn planted_in(&self, text: &str) -> Result<String, Rotten> {
        match text.matches(self.find).count() {
            1 => Ok(text.replacen(self.find, self.replace, 1)),
            count => Err(Rotten { name: self.name, file: self.file, count }),
        }
    }
}

impl Test {
    /// A test in a package's library.
    const fn unit(package: &'static str, name: &'static str) -> Self {
        Self { package, target: None, name, may_hang: false }
    }

    /// A test in one of a package's integration tests.
    const fn integration(package: &'static str, target: &'static str, name: &'static str) -> Self {
        Self { package, target: Some(target), name, may_hang: false }
    }

    /// The same, and it may hang.
    const fn or_hang(self) -> Self {
        Self { may_hang: true, ..self }
    }

    /// The folder of its package.
    pub fn folder(&self) -> &'static str {
        match self.package {
            "portcullis" => "vmm",
            package => package,
        }
    }

    /// Its own name and the file it is in, from the workspace's folder: tests are in modules of their own, and
    /// modules in files. The module `some_tests` has the file that `some::tests` would have.
    pub fn place(&self) -> (&'static str, PathBuf) {
        let (modules, name) = self.name.rsplit_once("::").unwrap_or(("", self.name));
        let file = modules.replace("::", "/").replace("_tests", "/tests");
        let path = match self.target {
            Some(target) if modules.is_empty() => format!("{}/tests/{target}.rs", self.folder()),
            Some(target) => format!("{}/tests/{target}/{file}.rs", self.folder()),
            None => format!("{}/src/{file}.rs", self.folder()),
        };
        (name, path.into())
    }

    /// The file that has to declare the module it is in, and the module; none if it is in no module.
    #[cfg(test)]
    fn declaration(&self) -> Option<(PathBuf, &'static str)> {
        let (modules, _) = self.name.rsplit_once("::")?;
        let (parents, module) = modules.rsplit_once("::").unwrap_or(("", modules));
        let path = match (self.target, parents) {
            (Some(target), _) => format!("{}/tests/{target}/main.rs", self.folder()),
            (None, "") => format!("{}/src/lib.rs", self.folder()),
            (None, parents) => format!("{}/src/{}.rs", self.folder(), parents.replace("::", "/")),
        };
        Some((path.into(), module))
    }
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.target {
            Some(target) => write!(f, "{} {target}::{}", self.package, self.name),
            None => write!(f, "{} {}", self.package, self.name),
        }
    }
}
