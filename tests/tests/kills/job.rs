//! What is killed: every learner, an export, an import; and what it leaves when nobody kills it.

use pocketflow::model::Model;
use pocketflow_tests::place::{Place, SMALL};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How a command goes on after a kill.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By `--resume`, in its folder.
    Run,
    /// By the same command.
    Export,
    /// By the same command and `--overwrite`.
    Import,
}

pub struct Job {
    pub name: &'static str,
    pub command: String,
    kind: Kind,
    /// Files that must be the same in the end.
    results: Vec<&'static str>,
    /// What is there before.
    given: &'static [Given],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    /// `models/model.ckpt`
    Parent,
    /// The files of an export of another model, in `models`.
    OldExport,
    /// `theirs.safetensors`
    Weights,
}

const EXPORTED: [&str; 7] = [
    "models/model_original.pb",
    "models/model_original.tflite",
    "models/model_quantized.tflite",
    "models/model_original.onnx",
    "models/model_quantized.onnx",
    "models/labels.txt",
    "models/input.json",
];
const EXPORT: &str = "export --model_dir=models --enbl_post_quant --calibration_images=32 --nb_smpls_train=960 \
                      --verify_images=0 --threads=1";
const PLAIN_EXPORT: &str = "export --model_dir=models --enbl_post_quant --verify_images=0 --threads=1 \
                            --default_ranges_min=-4 --default_ranges_max=4 --calibration_images=0";

impl Job {
    pub fn all() -> Vec<Self> {
        let run = |name, flags: &str, results, given| Self {
            name,
            command: format!("{flags} {SMALL} --run_dir=run --save_step=3"),
            kind: Kind::Run,
            results,
            given,
        };
        vec![
            Self {
                name: "export",
                command: EXPORT.into(),
                kind: Kind::Export,
                results: EXPORTED.into(),
                given: &[Given::Parent, Given::OldExport],
            },
            run(
                "uniform, with its parent",
                "--learner=uniform --nb_epochs_rat=0.008 --uql_quant_epochs=1 --uql_activation_bits=4",
                vec!["models/model.ckpt", "uql_quant_models/model.ckpt"],
                &[],
            ),
            Self {
                name: "import",
                command: "import theirs.safetensors --net=resnet_at_cifar10 --dataset=synthetic".into(),
                kind: Kind::Import,
                results: vec!["models/model.ckpt"],
                given: &[Given::Weights],
            },
            run("full-prec", "--learner=full-prec --nb_epochs_rat=0.012", vec!["models/model.ckpt"], &[]),
            run(
                "uniform-tf",
                "--learner=uniform-tf --nb_epochs_rat=0.008",
                vec!["models_uqtf/model.ckpt", "models_uqtf_eval/model.ckpt"],
                &[Given::Parent],
            ),
            run(
                "rl-agent",
                "--learner=rl-agent --uql_w_bit_max=3 --uql_nb_rlouts=4 --uql_enbl_rl_global_tune=False \
                 --uql_equivalent_bits=2.5",
                vec!["bit_plan.toml", "uql_quant_models/model.ckpt"],
                &[Given::Parent],
            ),
            run(
                "uniform, with a search",
                "--learner=uniform --uql_enbl_rl_agent --uql_w_bit_max=3 --uql_nb_rlouts=4 --uql_quant_epochs=1 \
                 --uql_enbl_rl_global_tune=False --uql_equivalent_bits=2.5 --uql_save_bit_plan=plan.toml",
                vec!["plan.toml", "uql_quant_models/model.ckpt"],
                &[Given::Parent],
            ),
        ]
    }
}

/// A job with what it leaves when nobody kills it.
pub struct Work<'a> {
    job: &'a Job,
    before: BTreeMap<PathBuf, Vec<u8>>,
    /// By name.
    after: BTreeMap<&'static str, Vec<u8>>,
    pub seconds: f64,
}

impl<'a> Work<'a> {
    /// `template`: where what several jobs need is made once.
    pub fn new(job: &'a Job, template: &Place) -> Self {
        let before = job.given.iter().flat_map(|given| given.files(template)).collect();
        let mut work = Self { job, before, after: BTreeMap::new(), seconds: 0.0 };
        let place = Place::new();
        work.prepare(&place);
        let start = Instant::now();
        place.host(&job.command).expect(0);
        work.seconds = start.elapsed().as_secs_f64();
        work.after = job.results.iter().map(|name| (*name, content(&place, name).unwrap())).collect();
        work
    }

    pub fn prepare(&self, place: &Place) {
        for (name, bytes) in &self.before {
            let path = place.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    /// Right after the kill: each file is the old one or the new one, and those of an export are of
    /// one export once whoever reads them has looked.
    pub fn expect_nothing_half(&self, place: &Place, story: &str) {
        if self.job.kind == Kind::Export {
            place.host("bench models/model_quantized.tflite --images=0 --threads=1").expect(0);
            let all = |files: &dyn Fn(&str) -> Option<Vec<u8>>| {
                self.job.results.iter().all(|name| content(place, name) == files(name))
            };
            let old = all(&|name| self.before.get(Path::new(name)).cloned());
            let new = all(&|name| self.after.get(name).cloned());
            assert!(old || new, "{story}: files of two exports");
        }
        for name in &self.job.results {
            // A model that is cut cannot be read.
            let found = content(place, name).is_some();
            assert!(found || !self.before.contains_key(Path::new(name)), "{story}: {name} is gone");
        }
    }

    /// As the program says, or as one would.
    pub fn go_on(&self, place: &Place, story: &str) {
        let command = &self.job.command;
        let line = match self.job.kind {
            Kind::Run if place.path("run").exists() => format!("{command} --resume"),
            Kind::Run | Kind::Export => command.clone(),
            Kind::Import => format!("{command} --overwrite"),
        };
        let outcome = place.host(&line);
        assert_eq!(outcome.status, 0, "{story}: {}", outcome.stderr);
    }

    pub fn expect_the_same(&self, place: &Place, story: &str) {
        for (name, expected) in &self.after {
            assert!(content(place, name).as_ref() == Some(expected), "{story}: {name} differs");
        }
        if self.job.kind == Kind::Run {
            assert!(place.path("run/report.html").exists() && place.path("run/report.json").exists(), "{story}");
        }
        self.expect_nothing_left(place, story);
    }

    pub fn expect_nothing_left(&self, place: &Place, story: &str) {
        let left = temporary(&place.path(""));
        assert!(left.is_empty(), "{story}: left {left:?}");
    }

    pub fn command(&self) -> &str {
        &self.job.command
    }
}

impl Given {
    fn files(self, template: &Place) -> Vec<(PathBuf, Vec<u8>)> {
        let parent = template.path("models/model.ckpt");
        if !parent.exists() {
            template.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.02")).expect(0);
        }
        let read = |name: &str| (PathBuf::from(name), template.bytes(name));
        match self {
            Self::Parent => vec![read("models/model.ckpt")],
            Self::Weights => {
                fs::write(template.path("theirs.safetensors"), safetensors(&parent)).unwrap();
                vec![read("theirs.safetensors")]
            }
            Self::OldExport => {
                if !template.path("models/export.json").exists() {
                    template.host(PLAIN_EXPORT).expect(0);
                }
                EXPORTED.iter().map(|name| read(name)).chain([read("models/export.json")]).collect()
            }
        }
    }
}

/// What a file says, without what differs from run to run: the accuracy that a model's header
/// tells.
fn content(place: &Place, name: &str) -> Option<Vec<u8>> {
    let path = place.path(name);
    match name.ends_with(".ckpt") {
        _ if !path.exists() => None,
        true => {
            let model = Model::load(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            Some(format!("{:?}{:?}{:?}", model.graph, model.plan, model.tensors).into_bytes())
        }
        false => Some(place.bytes(name)),
    }
}

/// The tensors of a model as another program would write them.
fn safetensors(model: &Path) -> Vec<u8> {
    let model = Model::load(model).unwrap();
    let (mut table, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, stored) in &model.tensors {
        let start = data.len();
        data.extend(model.values(name).unwrap().iter().flat_map(|value| value.to_le_bytes()));
        let offsets = [start, data.len()];
        table.insert(
            name.clone(),
            serde_json::json!({ "dtype": "F32", "shape": stored.shape(), "data_offsets": offsets }),
        );
    }
    let table = serde_json::Value::Object(table).to_string();
    [&(table.len() as u64).to_le_bytes()[..], table.as_bytes(), &data].concat()
}

/// Temporary files below a folder.
fn temporary(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(temporary(&path));
        } else if name.ends_with(".part") || name.ends_with(".journal") {
            found.push(path);
        }
    }
    found
}
