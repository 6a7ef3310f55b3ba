//! What one operation has done so far, and has to tell.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Tables;
use super::extent::Extent;
use super::group::GroupId;
use super::regime::Content;
use super::report::Report;
use super::spaces::{SpaceKey, Spaces};
use crate::{HostIommu, MapError, Pasid, TableMemory};

/// Those whom a report is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whom {
    /// The functions of a group.
    Group(GroupId),
    /// All functions that are in a space when the operation ends.
    Space(SpaceKey),
    /// The function of a group, as one that sends requests with this PASID.
    Pasid(GroupId, Pasid),
}

/// Where spaces come from.
#[derive(Clone, Copy)]
pub(super) struct Host<'a> {
    pub(super) iommu: &'a Arc<dyn HostIommu>,
    /// Guest memory, as its address spaces are over.
    pub(super) identity: &'a [Extent],
}

/// An operation: an invalidation, or a look at one function.
#[derive(Debug, Default)]
pub(super) struct Operation {
    reports: Vec<(Whom, Report)>,
    /// Spaces that have been compared with the tables as a whole.
    fresh: BTreeSet<SpaceKey>,
}

impl Operation {
    pub(super) fn add(&mut self, whom: Whom, report: Report) {
        if !report.is_empty() {
            self.reports.push((whom, report));
        }
    }

    /// Does something that brings the whole space in line.
    pub(super) fn on_space(&mut self, key: SpaceKey, work: impl FnOnce(&mut Report)) {
        let mut report = Report::default();
        work(&mut report);
        self.add(Whom::Space(key), report);
        self.fresh.insert(key);
    }

    /// Brings the whole space in line, if that has not been done; gives what the host has refused there that has
    /// been told to those who are in it.
    pub(super) fn refresh(
        &mut self,
        key: SpaceKey,
        spaces: &mut Spaces,
        tables: &Tables<impl TableMemory>,
    ) -> Vec<Extent> {
        let Some(space) = spaces.get_mut(key) else { return Vec::new() };
        let before: Vec<_> = space.commitment().refused().iter().copied().collect();
        if !self.is_fresh(key) {
            self.on_space(key, |report| space.resync(tables, report));
        }
        let refused = space.commitment().refused();
        before.into_iter().filter(|extent| refused.foresee(extent)).collect()
    }

    /// A space of `host` that is in line with what `content` says, for someone who comes in: one that is there
    /// already, or a new one with nobody in it.
    pub(super) fn prepare(
        &mut self,
        content: Content,
        host: Host<'_>,
        spaces: &mut Spaces,
        tables: &Tables<impl TableMemory>,
        report: &mut Report,
    ) -> Result<SpaceKey, MapError> {
        let Host { iommu, identity } = host;
        if let Some(key) = spaces.find(iommu, content, identity) {
            for extent in self.refresh(key, spaces, tables) {
                report.lacking(&extent);
            }
            Ok(key)
        } else if let Content::FirstStage(named) = content {
            let key = spaces.nest(iommu, named)?;
            self.on_space(key, |_| {});
            Ok(key)
        } else {
            let key = spaces.make(iommu, identity.to_vec())?;
            self.on_space(key, |report| spaces.follow(key, Some(content), tables, report));
            Ok(key)
        }
    }

    pub(super) fn is_fresh(&self, key: SpaceKey) -> bool {
        self.fresh.contains(&key)
    }

    pub(super) fn into_reports(self) -> Vec<(Whom, Report)> {
        self.reports
    }
}
