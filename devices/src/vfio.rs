//! Functions of the host, assigned to the guest through VFIO.

pub mod info;
mod routes;

pub use routes::{Signal, VectorRoutes};
