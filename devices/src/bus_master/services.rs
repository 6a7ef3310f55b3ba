//! Translation services: what a device asks of the unit besides memory.

use std::sync::Arc;

use iommu::{
    DeviceTlb, Iova, PageRequest, PageResponse, PageResponseCode, Translation, TranslationError,
    TranslationRequest,
};

use super::{BusMaster, DmaError, Remapping, Requests};

/// What a page is asked for, and in which group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageWish {
    /// To read.
    pub read: bool,
    /// To write.
    pub write: bool,
    /// The last request of its group.
    pub last: bool,
    /// The page request group index, 9 bits.
    pub group: u16,
}

impl BusMaster {
    /// Makes a device known to the unit that holds translations or sends page requests.
    pub fn register(&self, device: &Arc<dyn DeviceTlb>) {
        match &self.remapping {
            Remapping::Absent => {}
            Remapping::Unit(unit) => unit.register_device_tlb(device),
        }
    }
}

impl Requests<'_> {
    /// Asks where `iova` leads. With `no_write` the device does not ask for permission to write.
    pub fn translate(&self, iova: Iova, no_write: bool) -> Result<Translation, DmaError> {
        let _enabled = self.master.enabled()?;
        let request = TranslationRequest {
            source: self.master.source_id(),
            pasid: self.attributes.pasid,
            privileged: self.attributes.privileged,
            execute: self.attributes.execute,
            no_write,
            iova,
        };
        match &self.master.remapping {
            Remapping::Absent => Err(TranslationError::Unsupported.into()),
            Remapping::Unit(unit) => Ok(unit.translate(&request)?),
        }
    }

    /// Asks software for a page. A request that software will never see is answered at once.
    pub fn page_request(&self, wish: PageWish, iova: Iova) -> Result<Option<PageResponse>, DmaError> {
        let _enabled = self.master.enabled()?;
        let PageWish { read, write, last, group } = wish;
        let pasid = self.attributes.pasid;
        let request = PageRequest {
            source: self.master.source_id(),
            pasid,
            privileged: self.attributes.privileged,
            execute: self.attributes.execute,
            read,
            write,
            last,
            group,
            iova,
        };
        Ok(match &self.master.remapping {
            Remapping::Absent => {
                last.then_some(PageResponse { pasid, group, code: PageResponseCode::Failure })
            }
            Remapping::Unit(unit) => unit.page_request(&request),
        })
    }
}
