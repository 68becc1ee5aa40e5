//! The main job as a user runs it: the program as a process, the real plugin libraries, on the
//! stand-in images, with small nets. Needs no data and no network.

mod bad_input;
mod earlier;
mod folder;
mod learned;
mod main_job;
mod outside;
mod resuming;
mod searching;
mod stopping;
