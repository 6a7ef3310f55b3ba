//! What the tests share. It knows the crate's public face and the specification's layouts, and nothing of how the
//! crate is made.

mod bench;
pub(crate) mod descriptor;
pub(crate) mod device;
pub(crate) mod reg;
pub(crate) mod stages;
mod tables;

pub(crate) use bench::{Bench, Scalable};
pub(crate) use tables::{Tables, context, level, scalable};
