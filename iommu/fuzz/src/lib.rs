//! What the fuzz targets do with their input. `iommu/tests/fuzz.rs` includes the same, so that seconds of each are
//! part of the normal tests.

pub mod bodies;
mod machine;
mod script;
pub mod state;
