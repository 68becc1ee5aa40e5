//! `cargo xtask accuracy`: the runs behind the README's results table. Trains ResNet-20 for 25
//! epochs at full precision, fine-tunes it for ten epochs under each setting, and prints what the
//! reports say. Takes hours on two cores; a run that is done is not repeated, one that was stopped
//! goes on.

use crate::cargo::Program;
use crate::error::Error;
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name and flags of the fine-tuned networks.
const SETTINGS: [(&str, &str); 6] = [
    ("8/8", "--uql_weight_bits=8 --uql_activation_bits=8"),
    ("4/32", "--uql_weight_bits=4"),
    ("4/32, channel buckets", "--uql_weight_bits=4 --uql_use_buckets"),
    ("4/4", "--uql_weight_bits=4 --uql_activation_bits=4"),
    ("4/4, channel buckets", "--uql_weight_bits=4 --uql_activation_bits=4 --uql_use_buckets"),
    ("2/32, channel buckets", "--uql_weight_bits=2 --uql_use_buckets"),
];

/// `flags` go to every run: `--data_dir=…`, `--seed=…`, `--threads=…`. Results and models lie in
/// `runs/accuracy`.
///
/// # Errors
/// A run that failed.
pub fn accuracy(program: &Program, flags: &[OsString]) -> Result<(), Error> {
    let base = PathBuf::from("runs/accuracy");
    let parent = base.join("full-precision.ckpt");
    let train = "--learner=full-prec --nb_epochs_rat=0.1";
    let full = run(program, &base.join("full-precision"), &format!("{train} --save_path={}", parent.display()), flags)?;
    let mut rows = vec![("full precision".to_owned(), full)];
    for (name, setting) in SETTINGS {
        let folder = base.join(name.replace("/", "-").replace(", ", "-").replace(' ', "-"));
        let model = folder.with_extension("ckpt");
        let paths = format!("--save_path={} --uql_save_quant_model_path={}", parent.display(), model.display());
        let report =
            run(program, &folder, &format!("--learner=uniform --uql_quant_epoch=10 {setting} {paths}"), flags)?;
        rows.push((name.to_owned(), report));
    }
    print(&rows);
    Ok(())
}

fn run(program: &Program, folder: &Path, words: &str, flags: &[OsString]) -> Result<Value, Error> {
    let report = folder.join("report.json");
    if !report.exists() {
        let mut command = Command::new(&program.host);
        command.arg("--net=resnet_at_cifar10").arg(format!("--run_dir={}", folder.display()));
        command.args(words.split_whitespace()).args(flags);
        if folder.join("run.toml").exists() {
            command.arg("--resume");
        }
        Error::of_child(command.status().map_err(Error::io("run", &program.host))?)?;
    }
    let text = std::fs::read_to_string(&report).map_err(Error::io("read", &report))?;
    serde_json::from_str(&text).map_err(|error| Error::Report { path: report, problem: error.to_string() })
}

fn print(rows: &[(String, Value)]) {
    let number = |report: &Value, key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    let full = number(&rows[0].1, "top1");
    if rows[0].1["stand_in_data"] == true {
        println!("STAND-IN DATA: these accuracies say nothing about CIFAR-10; give --data_dir");
    }
    println!("| bits (weights/activations) | top-1 % | difference | bytes | smaller |");
    println!("|:---------------------------|--------:|-----------:|------:|--------:|");
    for (name, report) in rows {
        let (top1, bytes) = (number(report, "top1"), number(report, "model_bytes"));
        let ratio = number(report, "compression_ratio");
        println!("| {name:<26} | {:7.2} | {:+10.2} | {bytes:7} | {ratio:6.1}× |", 100.0 * top1, 100.0 * (top1 - full));
    }
}
