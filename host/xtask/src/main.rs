//! `cargo xtask …`: the commands that take a fresh machine to a running program.
//!
//! Plain cargo cannot fetch libtorch, build the plugins that a program loads at run time, or make a
//! folder to carry away; this program does those and leaves everything else to cargo, so that both
//! share one build.

mod accuracy;
mod cargo;
mod checkout;
mod dist;
mod error;
mod fetch;
mod libraries;
mod meter;
mod place;
mod setup;
mod suite;
mod version;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use cargo::Cargo;
use checkout::Checkout;
use error::Error;

/// What `cargo xtask help` prints.
const USAGE: &str = "\
Usage: cargo xtask COMMAND

  setup                make libtorch ready: LIBTORCH if you set it, else one copy per user, fetched once
  host [FLAGS…]        set up, build the program and its plugins in release, run it with FLAGS
  test [--all] [ARGS…] set up, build, run the test suite (ARGS go to `cargo test`); --all: long trainings and
                       hundreds of kills too, for an hour and more
  dist [DIR]           make a folder with the program, its plugins and libtorch that runs wherever it is moved (./dist)
  bench step [FLAGS…]  time a training step, in full precision and quantized
  accuracy [FLAGS…]    train and quantize ResNet-20 under seven settings and print the table of results; FLAGS go to
                       every run (--data_dir=DIR); hours on two cores, goes on where it was stopped
  help                 print this

After `setup`, `host` or `test`, plain `cargo build`, `cargo test` and `cargo run -p host` work too.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next();
    match run(command, arguments.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        // The child has said what was wrong; its status is ours.
        Err(Error::Child { status }) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, Error::Usage { .. }) { 2 } else { 1 })
        }
    }
}

fn run(command: Option<OsString>, rest: Vec<OsString>) -> Result<(), Error> {
    let Some(command) = command else { return Err(Error::usage("no command given")) };
    let name = command.to_string_lossy();
    if matches!(&*name, "help" | "--help" | "-h") {
        print!("{USAGE}");
        return Ok(());
    }
    let checkout = Checkout::of_this_program()?;
    match &*name {
        "setup" => {
            none_of(&rest, "setup")?;
            let libtorch = setup::setup(&checkout)?;
            eprintln!("libtorch {} is ready: {}", libtorch.version, libtorch.dir.display());
            Ok(())
        }
        "host" => {
            let cargo = ready(&checkout)?;
            let program = cargo.build_program()?;
            cargo.become_program(&program.host, &rest)
        }
        "test" => {
            let cargo = ready(&checkout)?;
            cargo.build_workspace()?;
            cargo.run(&["test", "--release", "--workspace"], &suite::arguments(rest))
        }
        "dist" => {
            let dir = at_most_one(rest, "dist")?.unwrap_or_else(|| checkout.root().join("dist"));
            let dir = dist::place(&dir)?;
            let libtorch = setup::setup(&checkout)?;
            let program = Cargo::new(&checkout).build_program()?;
            dist::dist(&checkout, &program, &libtorch, &dir)
        }
        "bench" => bench(&checkout, rest),
        "accuracy" => accuracy::accuracy(&ready(&checkout)?.build_program()?, &rest),
        _ => Err(Error::usage(format!("there is no command `{name}`"))),
    }
}

/// What `cargo xtask bench step --help` prints; the flags with a value, before anything is built.
const BENCH_STEP: &str = "\
Usage: cargo xtask bench step [FLAGS…]

  --net resnet20|resnet18  the network: ResNet-20 on small images (the default), ResNet-18 on photographs
  --batch N                images in a step; 128, of resnet18 32
  --rounds N               turns of each contender; 8
  --steps N                steps of a turn; 5
  --threads N              threads; as many as there are cores
  --pytorch PYTHON         a Python with PyTorch, to be measured too
  --json FILE              the results as JSON
  --only TEXT              only those whose name holds the text
  --allocator malloc       libtorch's own allocator
";

/// That the flags are among those of [`BENCH_STEP`].
fn expect_bench_flags(rest: &[OsString]) -> Result<(), Error> {
    let known: Vec<&str> = BENCH_STEP.lines().filter_map(|line| line.trim_start().split(' ').next()).collect();
    let flags = rest.iter().map(|word| word.to_string_lossy()).filter(|word| word.starts_with("--"));
    match flags.into_iter().find(|flag| !known.contains(&&**flag)) {
        None => Ok(()),
        Some(flag) => {
            Err(Error::usage(format!("`bench step` has no flag `{flag}`; see `cargo xtask bench step --help`")))
        }
    }
}

/// One arm for each thing that is measured.
fn bench(checkout: &Checkout, mut rest: Vec<OsString>) -> Result<(), Error> {
    let what = if rest.is_empty() { None } else { Some(rest.remove(0)) };
    match what.as_ref().map(|what| what.to_string_lossy()).as_deref() {
        Some("step") if rest.iter().any(|flag| flag == "--help" || flag == "-h") => {
            print!("{BENCH_STEP}");
            Ok(())
        }
        Some("step") => {
            expect_bench_flags(&rest)?;
            ready(checkout)?
                .run(&["run", "--release", "--package", "pocketflow-torch", "--example", "bench_step", "--"], &rest)
        }
        Some(other) => Err(Error::usage(format!("there is no bench `{other}`; there is: step"))),
        None => Err(Error::usage("bench what? There is: step")),
    }
}

/// Makes libtorch ready and returns the cargo that builds against it.
fn ready(checkout: &Checkout) -> Result<Cargo, Error> {
    setup::setup(checkout)?;
    Ok(Cargo::new(checkout))
}

fn none_of(rest: &[OsString], command: &str) -> Result<(), Error> {
    match rest.first() {
        None => Ok(()),
        Some(extra) => Err(Error::usage(format!("`{command}` takes no argument; got `{}`", extra.to_string_lossy()))),
    }
}

fn at_most_one(rest: Vec<OsString>, command: &str) -> Result<Option<PathBuf>, Error> {
    let mut rest = rest.into_iter();
    let first = rest.next();
    if let Some(flag) = first.as_ref().filter(|first| first.to_string_lossy().starts_with('-')) {
        return Err(Error::usage(format!("`{command}` has no flag `{}`", flag.to_string_lossy())));
    }
    match rest.next() {
        None => Ok(first.map(PathBuf::from)),
        Some(extra) => {
            Err(Error::usage(format!("`{command}` takes one folder; got also `{}`", extra.to_string_lossy())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_text(command: Option<&str>, rest: &[&str]) -> String {
        let rest = rest.iter().map(OsString::from).collect();
        run(command.map(OsString::from), rest).expect_err("refused").to_string()
    }

    #[test]
    fn what_is_not_a_command_is_refused_before_anything_is_done() {
        assert!(status_text(None, &[]).starts_with("no command given"));
        assert!(status_text(Some("hots"), &[]).contains("no command `hots`"));
        assert!(status_text(Some("setup"), &["--now"]).contains("takes no argument; got `--now`"));
        assert!(status_text(Some("bench"), &[]).contains("There is: step"));
        assert!(status_text(Some("bench"), &["stop"]).contains("no bench `stop`"));
        assert!(status_text(Some("bench"), &["step", "--nonsense"]).contains("no flag `--nonsense`"));
        assert!(expect_bench_flags(&["--net", "resnet18", "--json", "a"].map(OsString::from)).is_ok());
        assert!(run(Some("bench".into()), vec!["step".into(), "--help".into()]).is_ok());
        assert!(status_text(Some("dist"), &["a", "b"]).contains("got also `b`"));
        assert!(status_text(Some("dist"), &["--strip"]).contains("no flag `--strip`"));
    }

    #[test]
    fn every_refusal_shows_the_commands() {
        assert!(status_text(Some("hots"), &[]).contains("host [FLAGS…]"));
    }
}
