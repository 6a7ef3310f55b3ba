#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| iommu_fuzz::state::state(data));
