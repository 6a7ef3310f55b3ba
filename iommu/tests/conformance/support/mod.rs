//! What the tests share. It knows the crate's public face and the specification's layouts, and nothing of how the
//! crate is made.

mod bench;
pub(crate) mod descriptor;
pub(crate) mod reg;
mod tables;

pub(crate) use bench::Bench;
pub(crate) use tables::{Tables, context, level};
