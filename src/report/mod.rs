//! Tables from a journal. A pure function: the same input gives the same bytes, and nothing is measured.

pub mod text;
