//! Weights of other programs, and the nets for photographs, as a user has them: the program as a
//! process, the real plugin libraries. Needs no data and no network.

mod checking;
mod files;
mod photographs;
