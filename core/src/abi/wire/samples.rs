//! One value of each type that crosses as bytes, with every variant and no field at its default.

use super::golden::{Declarations, Golden, Sample};
use crate::abi::Declared;
use crate::abi::learner::Facts;
use crate::agent::{AgentLoss, AgentSpace};
use crate::dataset::check::{CheckReport, CheckedSet};
use crate::dataset::{DatasetInfo, Shard, Split};
use crate::error::{Error, ErrorKind};
use crate::graph::*;
use crate::job::Event;
use crate::net::{Recipe, Schedule};
use crate::option::{Kind, OptionSpec, Value};
use crate::plugin::{Declaration, PluginKind};
use crate::report::search::{Candidate, FrontPoint, RolloutReport, SearchReport, Sensitivity};
use crate::report::{Histogram, LayerReport, Report};
use crate::settings::{Origin, Setting, Settings};
use crate::workers::Group;

/// The file names are `NAME.N.bin`; a type whose bytes change gets the next number.
pub fn samples() -> Vec<Box<dyn Golden>> {
    fn sample(sample: impl Golden + 'static) -> Box<dyn Golden> {
        Box::new(sample)
    }
    let options: Vec<(String, Value)> =
        vec![("resnet_size".into(), Value::Int(56)), ("bias".into(), Value::Bool(true))];
    let weights: Vec<(String, Vec<usize>)> =
        vec![("conv1.weight".into(), vec![16, 3, 3, 3]), ("fc".into(), vec![10, 64])];
    let replaced: Vec<(String, String)> = vec![("save_path".into(), "models/model.ckpt".into())];
    let splits = [Split::Train, Split::Fit, Split::Val, Split::Eval, Split::Plain];
    let requests: Vec<(Split, Shard, u64)> = splits.map(|split| (split, Shard { index: 1, count: 3 }, u64::MAX)).into();
    vec![
        sample(Sample { name: "agent_loss.1", value: AgentLoss { actor: -0.5, critic: 2.5 } }),
        sample(Sample { name: "agent_space.1", value: AgentSpace { filling: 50, ..agent_space() } }),
        sample(Sample { name: "agent_space.2", value: agent_space() }),
        sample(Sample { name: "check_report.1", value: check_report() }),
        sample(Sample { name: "dataset_info.1", value: dataset_info() }),
        sample(Sample { name: "dataset_info.2", value: dataset_info().classes_by_name().leaves_out(true) }),
        sample(Declarations { name: "declarations.1", value: declarations() }),
        sample(Sample { name: "errors.1", value: errors() }),
        sample(Sample { name: "events.1", value: events() }),
        sample(Sample { name: "graph.1", value: graph() }),
        sample(Sample { name: "graph_later.1", value: later_graph() }),
        sample(Sample { name: "job.1", value: job() }),
        sample(Sample { name: "job.2", value: shared_job() }),
        sample(Sample { name: "options.1", value: options }),
        sample(Sample { name: "recipes.1", value: recipes() }),
        sample(Sample { name: "recipes.2", value: recipes() }),
        sample(Sample { name: "replaced.1", value: replaced }),
        sample(Sample { name: "report.1", value: report() }),
        sample(Sample { name: "requests.1", value: requests }),
        sample(Sample { name: "settings.1", value: settings() }),
        sample(Sample { name: "weights.1", value: weights }),
    ]
}

pub fn agent_space() -> AgentSpace {
    AgentSpace { seed: u64::MAX, filling: 60, ..AgentSpace::new(28, 1, 6.5, 200, 20) }
}

pub fn check_report() -> CheckReport {
    let set = CheckedSet {
        name: "training".into(),
        place: "5 files in data/cifar10".into(),
        images: 49_999,
        complete: 50_000,
        classes: 10,
        problems: 1,
        named: vec!["data_batch_2.bin: cut".into()],
    };
    CheckReport { sets: vec![set], notes: vec!["no test images".into()] }
}

pub fn dataset_info() -> DatasetInfo {
    DatasetInfo {
        name: "cifar10".into(),
        shape: [3, 32, 32],
        labels: vec!["airplane".into(), "automobile".into()],
        mean: vec![125.3, 122.95, 113.87],
        std: vec![62.99, 62.09, 66.7],
        train: 50_000,
        val: 5_000,
        eval: 10_000,
        stand_in: true,
        source: "data/cifar10".into(),
        classes_by_name: false,
        leaves_out: false,
    }
}

pub fn declaration() -> Declaration {
    let open = Kind::Float { min: f64::NEG_INFINITY, max: f64::INFINITY };
    let floats = Kind::Floats { min: 0.5, max: 64.0 };
    Declaration {
        aliases: vec!["uql".into()],
        about: "Bits for each layer.".into(),
        version: "0.1.0".into(),
        options: vec![
            OptionSpec::switch("uql_buckets", true, "Ranges for buckets."),
            OptionSpec::int("uql_weight_bits", 4, 1..=32, "Bits.").alias("uql_bits"),
            OptionSpec::new("uql_scale", open, Some(Value::Float(0.5)), "A factor."),
            OptionSpec::text("uql_note", "none", "A remark."),
            OptionSpec::path("uql_parent", "parent.ckpt", "The parent.").made_if_missing(),
            OptionSpec::path("uql_model", "model.ckpt", "The model.").output(),
            OptionSpec::path("uql_plan", "", "The plan.").optional().output_or("plan.toml"),
            OptionSpec::choice("uql_bucket_type", "split", &["channel", "split"], "Which buckets."),
            OptionSpec::new("uql_budgets", floats, Some(Value::Floats(vec![2.0, 4.5])), "Budgets."),
        ],
        datasets: vec!["cifar10".into()],
        writes: vec!["save_path".into()],
        ..Declaration::new(PluginKind::Learner, "uniform")
    }
}

fn declarations() -> Vec<Declared> {
    let declared =
        |kind: PluginKind, name: &str, result| Declared { kind: kind.to_string(), name: name.into(), result };
    let plain = |kind, name: &str| {
        declared(kind, name, Ok(Declaration { kind, name: name.into(), options: Vec::new(), ..declaration() }))
    };
    vec![
        declared(PluginKind::Learner, "uniform", Ok(declaration())),
        declared(PluginKind::Learner, "broken", Err(Error::failed("it panicked"))),
        plain(PluginKind::Net, "resnet_at_cifar10"),
        plain(PluginKind::Dataset, "cifar10"),
        plain(PluginKind::Agent, "rl-agent"),
    ]
}

fn errors() -> Vec<Error> {
    let kinds = [ErrorKind::Config, ErrorKind::DataNotFound, ErrorKind::Interrupted, ErrorKind::Failed];
    kinds.map(|kind| Error::new(kind, "no file `a.bin`").context("cannot open")).into()
}

pub fn events() -> Vec<Event> {
    let phase = || "uniform".to_owned();
    let (step, epoch, loss, top1, top5) = (391, 1.5, 0.25, 0.75, 0.875);
    vec![
        Event::Phase { name: phase(), steps: 3_910, done: 391 },
        Event::Step { phase: phase(), step, epoch, loss, top1, lrn_rate: 0.1, images_per_second: 812.5 },
        Event::Tick { phase: phase(), step, epoch, loss, top1, images_per_second: 812.5 },
        Event::Progress { phase: phase(), step, text: "roll-out 3 of 200".into() },
        Event::Evaluation { phase: phase(), split: "eval".into(), step, epoch, loss, top1, top5 },
        Event::Scalar { phase: phase(), name: "reward".into(), step, value: f64::INFINITY },
        Event::Decisions { split: "eval".into(), classes: vec![3, 0, 9] },
        Event::PhaseEnd { name: phase(), seconds: 245.5 },
        Event::Note { text: "a stand-in".into(), warning: true },
    ]
}

pub fn graph() -> Graph {
    let conv = Conv2d {
        out: 8,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1, 1, 1],
        dilation: [1; 2],
        groups: 1,
        bias: true,
    };
    let nodes = vec![
        ("images", Op::Input(Input { shape: [3, 8, 8] }), vec![]),
        ("conv", Op::Conv2d(conv), vec![0]),
        ("bn", Op::BatchNorm(BatchNorm { eps: 1e-5 }), vec![1]),
        ("relu", Op::Relu(Relu), vec![2]),
        ("relu6", Op::Relu6(Relu6), vec![3]),
        ("add", Op::Add(Add), vec![3, 4]),
        ("pool", Op::MaxPool(MaxPool { kernel: 3, stride: 2, padding: 1 }), vec![5]),
        ("pad", Op::PadShortcut(PadShortcut { out: 16, stride: 2 }), vec![6]),
        ("mean", Op::GlobalAvgPool(GlobalAvgPool), vec![7]),
        ("fc", Op::Linear(Linear { out: 10, bias: true }), vec![8]),
    ];
    named("every_operator", nodes)
}

/// Operators that came later than interface 1. Older readers refuse them by their words.
fn later_graph() -> Graph {
    let dilated = Conv2d { dilation: [2, 1], padding: [2, 1, 2, 1], groups: 3, bias: true, ..Conv2d::new(6, [3, 3]) };
    let (kernel, stride, padding, ceil) = ([3, 2], [2, 1], [1, 0, 1, 1], true);
    let nodes = vec![
        ("images", Op::Input(Input { shape: [3, 8, 8] }), vec![]),
        ("conv", Op::Conv2d(dilated), vec![0]),
        ("hard_swish", Op::HardSwish(HardSwish), vec![1]),
        ("silu", Op::Silu(Silu), vec![2]),
        ("concat", Op::Concat(Concat), vec![1, 2, 3]),
        ("shuffle", Op::ChannelShuffle(ChannelShuffle { groups: 3 }), vec![4]),
        ("slice", Op::Slice(Slice { start: 6, end: 12 }), vec![5]),
        ("max", Op::MaxPool2d(MaxPool2d { kernel, stride, padding, ceil }), vec![6]),
        ("average", Op::AvgPool2d(AvgPool2d { kernel, stride, padding, ceil, count_padding: true }), vec![7]),
        ("pad", Op::Pad(Pad { padding }), vec![8]),
        ("gmax", Op::GlobalMaxPool(GlobalMaxPool), vec![9]),
        ("sigmoid", Op::Sigmoid(Sigmoid), vec![10]),
        ("hard_sigmoid", Op::HardSigmoid(HardSigmoid), vec![10]),
        ("tanh", Op::Tanh(Tanh), vec![12]),
        ("gated", Op::Mul(Mul), vec![9, 11]),
        ("leaky", Op::LeakyRelu(LeakyRelu { slope: 0.125 }), vec![14]),
        ("prelu", Op::Prelu(Prelu { by_channel: true }), vec![15]),
        ("shifted", Op::AddConstant(AddConstant { values: vec![0.5] }), vec![16]),
        ("dropout", Op::Dropout(Dropout { probability: 0.25 }), vec![17]),
        ("flat", Op::Flatten(Flatten), vec![18]),
        ("fc", Op::Linear(Linear { out: 10, bias: true }), vec![19]),
        ("probabilities", Op::Softmax(Softmax), vec![20]),
    ];
    named("later_operators", nodes)
}

fn named(name: &str, nodes: Vec<(&str, Op, Vec<usize>)>) -> Graph {
    let node = |(name, op, inputs): (&str, Op, Vec<usize>)| Node { name: name.into(), op, inputs };
    Graph { name: name.into(), nodes: nodes.into_iter().map(node).collect() }
}

/// With the group of workers that came later.
fn shared_job() -> Facts {
    let mut group = Group::alone();
    (group.rank, group.size, group.job, group.timeout) = (1, 4, 2, 25);
    (group.host, group.port, group.serves) = ("10.0.0.1".into(), 29_500, true);
    group.facts = "seed\t0\n".into();
    Facts { group, ..job() }
}

pub fn job() -> Facts {
    Facts {
        settings: settings(),
        net_id: "resnet_at_cifar10".into(),
        run_dir: "runs/1".into(),
        model: Some("models/model.ckpt".into()),
        group: Group::alone(),
    }
}

pub fn recipes() -> Vec<Recipe> {
    let schedules = [
        Schedule::Piecewise { init: 0.1, factor: 0.2, boundaries: vec![100.0, 150.0] },
        Schedule::Exponential { init: 0.045, factor: 0.98 },
        Schedule::OneCycle { peak: 0.4, warm_up: 0.3 },
        Schedule::Cosine { init: 0.05 },
    ];
    let recipe = |schedule| Recipe {
        epochs: 250.5,
        momentum: 0.9,
        nesterov: true,
        weight_decay: 2e-4,
        schedule,
        lrn_rate: 0.01,
    };
    schedules.map(recipe).into()
}

pub fn report() -> Report {
    let layer = LayerReport {
        name: "conv1".into(),
        kind: "conv".into(),
        params: 432,
        weight_bits: 4,
        activation_bits: Some(8),
        bytes: 216,
        buckets: 16,
        weight_error: 0.125,
        histogram: Some(Histogram { min: -1.0, max: 1.0, before: vec![1, 2], after: vec![3, 0] }),
    };
    Report {
        learner: "uniform".into(),
        net: "resnet_at_cifar10".into(),
        dataset: "cifar10".into(),
        stand_in_data: true,
        seed: 7,
        top1: 0.875,
        top5: 0.9375,
        top1_full_precision: Some(0.9),
        top5_full_precision: Some(0.95),
        loss: 0.5,
        weight_bits_mean: 4.25,
        layers: vec![layer],
        model_path: "models/model.ckpt".into(),
        model_bytes: 140_000,
        full_precision_bytes: 1_100_000,
        compression_ratio: 7.5,
        bucket_bytes: 1_024,
        wall_seconds: 60.5,
        images_per_second: 812.5,
        warnings: vec!["a stand-in".into()],
        search: Some(search()),
    }
}

fn search() -> SearchReport {
    let candidate =
        Candidate { method: "rl".into(), bits: vec![4, 3], bytes: 216, top1_before: 0.5, top1_after: Some(0.875) };
    SearchReport {
        layers: vec!["conv1".into(), "fc".into()],
        params: vec![432, 640],
        split: "val".into(),
        images: 5_000,
        equivalent_bits: 4.0,
        bits_min: 2,
        bits_max: 8,
        candidates: vec![candidate],
        chosen: "rl".into(),
        rollouts: vec![RolloutReport { bits: vec![4, 3], reward: 0.5, best: 0.75, images: 2_500 }],
        first_learning: 50,
        starts: 2,
        sensitivity: Some(Sensitivity { bits: vec![2, 4], loss: vec![vec![0.5, 0.25], vec![0.125, 0.0625]] }),
        front: vec![FrontPoint { equivalent_bits: 2.0, method: "rl".into(), bits: vec![2, 2], bytes: 108, top1: 0.25 }],
    }
}

pub fn settings() -> Settings {
    let mut settings = Settings::default();
    let owner = "uniform";
    let mut put = |key: &str, value: Option<Value>, origin: Origin| {
        let overrode = vec![(Some(Value::Int(8)), Origin::Default { owner: owner.into() }), (None, origin.clone())];
        settings.insert(key, Setting { value, origin, overrode, owner: owner.into() });
    };
    put("uql_buckets", Some(Value::Bool(true)), Origin::Default { owner: owner.into() });
    put("uql_weight_bits", Some(Value::Int(4)), Origin::File { path: "pocketflow.toml".into(), line: Some(3) });
    put("uql_scale", Some(Value::Float(0.5)), Origin::File { path: "other.toml".into(), line: None });
    put("uql_note", Some(Value::Text("none".into())), Origin::Variable { name: "POCKETFLOW_UQL_NOTE".into() });
    put("uql_budgets", Some(Value::Floats(vec![2.0, 4.5])), Origin::Flag { name: "--uql-budgets".into() });
    put("uql_plan", None, Origin::Derived { reason: "the plan says so".into() });
    settings
}
