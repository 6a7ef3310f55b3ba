//! Random changes of everything that decides where a function's addresses lead, announced as Linux does it
//! with caching mode: after each the host maps what the tables say.

use proptest::collection::vec;
use proptest::prelude::*;

use super::scalable::{FIRST_STAGE, PASS_THROUGH, RID_PASID, SECOND_STAGE, WIDTH_48};
use super::*;
use crate::{Feature, Profile};

/// What the PASID entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Absent,
    SecondStage {
        table: usize,
        domain: DomainId,
    },
    PassThrough {
        domain: DomainId,
    },
    FirstStage {
        domain: DomainId,
    },
    /// A bit is set that must not be.
    Broken {
        domain: DomainId,
    },
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Entry(Entry),
    Context {
        present: bool,
    },
    BusMaster(bool),
    /// Maps or unmaps a page of one of the tables.
    Page {
        table: usize,
        page: u64,
        mapped: bool,
    },
    Translation(bool),
    /// Takes the root table of scalable mode into use, or that of legacy mode.
    Mode {
        scalable: bool,
    },
}

const ABSENT: Entry = Entry::Absent;

fn entry() -> impl Strategy<Value = Entry> {
    let domain = || (2..4_u16).prop_map(DomainId);
    prop_oneof![
        1 => Just(ABSENT),
        4 => (0..2_usize, domain()).prop_map(|(table, domain)| Entry::SecondStage { table, domain }),
        1 => domain().prop_map(|domain| Entry::PassThrough { domain }),
        1 => domain().prop_map(|domain| Entry::FirstStage { domain }),
        1 => domain().prop_map(|domain| Entry::Broken { domain }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => entry().prop_map(Step::Entry),
        1 => any::<bool>().prop_map(|present| Step::Context { present }),
        1 => any::<bool>().prop_map(Step::BusMaster),
        6 => (0..2_usize, 0..4_u64, any::<bool>())
            .prop_map(|(table, page, mapped)| Step::Page { table, page, mapped }),
        1 => any::<bool>().prop_map(Step::Translation),
        1 => any::<bool>().prop_map(|scalable| Step::Mode { scalable }),
    ]
}

impl Entry {
    /// Its domain, if there is an entry.
    fn domain(self) -> Option<DomainId> {
        match self {
            Self::Absent => None,
            Self::SecondStage { domain, .. }
            | Self::PassThrough { domain }
            | Self::FirstStage { domain }
            | Self::Broken { domain } => Some(domain),
        }
    }
}

/// The guest and what it knows of itself.
struct Driver {
    scene: Scene,
    nvme: Assigned,
    tables: [Table; 2],
    scalable_root: u64,
    legacy_root: u64,
    context: u64,
    entry: Entry,
}

impl Driver {
    /// In scalable mode, with translation on and no PASID entry. The first table is that of legacy mode too.
    fn new() -> Self {
        let full = Capabilities::new(Profile::Full, 48).with(Feature::CachingMode);
        let (mut scene, nvme, table) = Scene::scalable_with(full);
        let tables = [table, scene.guest.table(4)];
        let scalable_root = scene.guest.root;
        let context = (scene.guest.read(scalable_root) & !0xFFF) + u64::from(SOURCE.devfn()) * 32;
        let legacy_root = scene.guest.page();
        scene.guest.root = legacy_root;
        scene.guest.set_domain(SOURCE, &table, DOMAIN.0);
        scene.guest.root = scalable_root;
        Self { scene, nvme, tables, scalable_root, legacy_root, context, entry: ABSENT }
    }

    fn announce(&self, what: Invalidation) {
        self.scene.announce(what);
    }

    fn make(&mut self, step: Step) {
        let guest = &self.scene.guest;
        match step {
            Step::Entry(entry) => self.replace(entry),
            Step::Context { present } => {
                guest.write(self.context, guest.read(self.context) & !1 | u64::from(present));
                self.announce(Invalidation::ContextDevice { source: SOURCE, mask: 0 });
            }
            Step::BusMaster(on) => {
                self.nvme.device.set_bus_master(on);
                self.nvme.attachment.refresh();
            }
            Step::Page { table, page, mapped } => {
                let iova = 0x10_0000 + page * PAGE;
                if mapped {
                    guest.map(&self.tables[table], iova, 0x20_0000 + page * PAGE, PAGE, BOTH);
                } else {
                    guest.unmap(&self.tables[table], iova, PAGE);
                }
                for domain in [DomainId(2), DomainId(3), DOMAIN] {
                    let iova = Iova(iova);
                    self.announce(Invalidation::IotlbPages { domain, iova, address_mask: 0, hint: false });
                }
            }
            Step::Translation(on) => {
                self.scene.view.translating = on;
                self.announce(Invalidation::Everything);
            }
            Step::Mode { scalable } => {
                let root = if scalable { self.scalable_root | 1 << 10 } else { self.legacy_root };
                self.scene.view.root = RootPointer(root);
                self.announce(Invalidation::Everything);
            }
        }
    }

    /// Replaces the PASID entry, and announces it under what stood there, or else under what stands there now.
    fn replace(&mut self, entry: Entry) {
        let before = std::mem::replace(&mut self.entry, entry);
        let root = self.tables[match entry {
            Entry::SecondStage { table, .. } => table,
            _ => 0,
        }]
        .root;
        let low = match entry {
            Entry::Absent => None,
            Entry::SecondStage { .. } => Some(root | SECOND_STAGE | WIDTH_48),
            Entry::PassThrough { .. } => Some(PASS_THROUGH | WIDTH_48),
            Entry::FirstStage { .. } => Some(FIRST_STAGE | WIDTH_48),
            Entry::Broken { .. } => Some(root | SECOND_STAGE | WIDTH_48 | 1 << 10),
        };
        match low.zip(entry.domain()) {
            Some((low, domain)) => self.scene.set_pasid_entry(low, domain.0),
            None => self.scene.clear_pasid_entry(),
        }
        if let Some(domain) = before.domain().or(entry.domain()) {
            self.announce(Invalidation::PasidCachePasid(domain, RID_PASID));
            self.announce(match before {
                Entry::PassThrough { .. } | Entry::FirstStage { .. } => {
                    Invalidation::PasidIotlb(domain, RID_PASID)
                }
                _ => Invalidation::IotlbDomain(domain),
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn after_every_change_the_host_maps_what_the_tables_say(steps in vec(step(), 1..24)) {
        let mut driver = Driver::new();
        for step in steps {
            driver.make(step);
            driver.nvme.assert_exact();
        }
    }
}
