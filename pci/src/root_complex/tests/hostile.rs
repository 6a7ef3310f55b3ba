//! A guest that writes whatever it likes.
