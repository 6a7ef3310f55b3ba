#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| iommu_fuzz::bodies::registers(data));
