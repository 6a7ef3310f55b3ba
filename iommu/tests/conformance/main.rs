//! Conformance: what a section of the specification demands, seen through registers, tables and requests alone.
//!
//! One file for each chapter, one test for each behaviour. A test's name begins with its section:
//! `s6_5_2_3_domain_selective_drops_only_its_domain` is about §6.5.2.3. `cargo xtask conformance` runs them and
//! prints them beside `sections.txt`, which lists every section of these chapters, and for one without a test
//! says why it has none.

mod s11_counters;
mod s11_more_registers;
mod s11_registers;
mod s3_dma_remapping;
mod s3_first_stage;
mod s3_nested;
mod s3_scalable_mode;
mod s4_ats;
mod s5_interrupts;
mod s5_posting;
mod s6_caches;
mod s6_invalidation;
mod s6_pasid_caches;
mod s6_queue_errors;
mod s7_faults;
mod s7_page_requests;
mod s9_formats;
mod s9_scalable_formats;
mod support;
