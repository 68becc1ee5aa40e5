//! The search for bits per layer: what it compares, keeps and writes, and that it goes on where it
//! was stopped.

use pocketflow::model::Model;
use pocketflow_tests::place::{Place, SMALL, built, finish};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// Short, with few columns to measure.
const SEARCH: &str = "--uql_w_bit_max=4 --uql_nb_rlouts=12";
const BUDGET: &str = "--uql_equivalent_bits=2.5";
const UNTUNED: &str = "--uql_enbl_rl_global_tune=False";

/// Fewer images than elsewhere: a search looks at them often.
fn small() -> String {
    SMALL.replace("--nb_smpls_train=960", "--nb_smpls_train=320")
}

/// A place with a parent that has learnt something; it is trained once for all.
fn with_parent() -> Place {
    static PARENT: OnceLock<Vec<u8>> = OnceLock::new();
    let place = Place::new();
    let parent = PARENT.get_or_init(|| {
        place.host(&format!("--learner=full-prec {} --nb_epochs_rat=0.08", small())).expect(0);
        place.bytes("models/model.ckpt")
    });
    std::fs::create_dir_all(place.path("models")).unwrap();
    std::fs::write(place.path("models/model.ckpt"), parent).unwrap();
    place
}

fn uniform(flags: &str) -> String {
    format!("--learner=uniform {} {SEARCH} {flags}", small())
}

fn bits(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|bits| bits.as_u64().unwrap()).collect()
}

/// Mean bits of a weight.
fn mean(search: &Value, allocation: &Value) -> f64 {
    let (params, bits) = (bits(&search["params"]), bits(allocation));
    let spent: u64 = params.iter().zip(&bits).map(|(params, bits)| params * bits).sum();
    spent as f64 / params.iter().sum::<u64>() as f64
}

fn fixture(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().with_file_name(format!("libpocketflow_fixture_{name}.so"))
}

#[test]
fn three_ways_are_compared_the_best_is_taken_and_its_plan_can_be_read() {
    let (place, small) = (with_parent(), small());
    let flags = uniform(&format!(
        "--uql_enbl_rl_agent {BUDGET} {UNTUNED} --uql_quant_epochs=1 --uql_budgets=2,3 --run_dir=run"
    ));
    let run = place.host(&flags).expect(0).says(&["bit_plan.toml"]);
    // On the screen only every ten seconds, in the log always.
    let log = String::from_utf8(place.bytes("run/log.txt")).unwrap();
    let told = log.lines().filter(|line| ["search: 12: reward", "best", "bits"].iter().all(|part| line.contains(part)));
    assert_eq!(told.count(), 1, "{log}");
    assert!(run.stderr.contains(": taken"), "{}", run.stderr);
    let report = place.json("run/report.json");
    let search = &report["search"];
    let candidates = search["candidates"].as_array().unwrap();
    let methods: Vec<&str> = candidates.iter().map(|candidate| candidate["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["uniform", "sensitivity", "rl"]);
    assert!(candidates.iter().all(|candidate| mean(search, &candidate["bits"]) <= 2.5), "{search:#}");
    let after = |candidate: &Value| candidate["top1_after"].as_f64().unwrap();
    let best = candidates.iter().map(after).fold(0.0, f64::max);
    let chosen = candidates.iter().find(|candidate| candidate["method"] == search["chosen"]).unwrap();
    assert_eq!(after(chosen), best);

    let rollouts = search["rollouts"].as_array().unwrap();
    assert_eq!((rollouts.len(), search["first_learning"].as_u64()), (12, Some(3)));
    assert_eq!(rollouts[0]["bits"], candidates[0]["bits"], "the first roll-outs start from the others' solutions");
    assert_eq!(rollouts[1]["bits"], candidates[1]["bits"]);
    assert!(rollouts.iter().all(|rollout| mean(search, &rollout["bits"]) <= 2.5));
    let reward = |rollout: &Value| rollout["reward"].as_f64().unwrap();
    let highest = rollouts.iter().map(reward).fold(0.0, f64::max);
    assert_eq!(rollouts[11]["best"].as_f64(), Some(highest));
    assert_eq!(candidates[2]["top1_before"].as_f64(), Some(highest), "without tuning the reward is the accuracy");
    let table = &search["sensitivity"];
    assert_eq!(bits(&table["bits"]), [2, 3, 4]);
    let losses = table["loss"].as_array().unwrap();
    assert_eq!(losses.len(), search["layers"].as_array().unwrap().len());
    let loss = |row: &Value, column: usize| row[column].as_f64().unwrap();
    assert!(
        losses.iter().all(|row| loss(row, 0) > loss(row, 2) && loss(row, 2) > 0.0),
        "fewer bits cost more: {table}"
    );
    // Two of each listed budget, and the agent's at its own.
    assert_eq!(search["front"].as_array().unwrap().len(), 5);

    // What was chosen is what was trained, and what the plan says.
    let wanted = bits(&chosen["bits"]);
    let names: Vec<&str> = search["layers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let model = Model::load(&place.path("uql_quant_models/model.ckpt")).unwrap();
    let trained: Vec<u64> = names.iter().map(|name| model.plan.weights[*name].bits.into()).collect();
    assert_eq!(trained, wanted);
    let read = format!("--learner=uniform {small} --uql_quant_epochs=0 --uql_bit_plan=run/bit_plan.toml");
    place.host(&format!("{read} --run_dir=plan --uql_save_quant_model_path=plan.ckpt")).expect(0);
    let model = Model::load(&place.path("plan.ckpt")).unwrap();
    assert_eq!(names.iter().map(|name| u64::from(model.plan.weights[*name].bits)).collect::<Vec<_>>(), wanted);
    // The plan is complete: another choice of layers does not go with it.
    place.host(&format!("{read} --uql_quantize_all_layers")).expect(2).says(&[
        "bit_plan.toml",
        "leaves out",
        "`conv1`",
    ]);
}

#[test]
fn a_killed_search_goes_on_to_the_same_end() {
    let place = with_parent();
    // Both kinds of tuning, the long one for the best few.
    let tuned =
        "--uql_enbl_rl_layerwise_tune --uql_tune_layerwise_steps=3 --uql_tune_global_steps=3 --uql_tune_short_steps=2";
    let job = |run: &str| {
        let paths = format!("--run_dir={run} --uql_save_quant_model_path={run}.ckpt --uql_save_bit_plan={run}.toml");
        uniform(&format!("--uql_enbl_rl_agent {BUDGET} --uql_quant_epochs=1 {tuned} {paths}"))
    };
    place.host(&job("whole")).expect(0);
    let rewards = |run: &str| {
        let text = std::fs::read_to_string(place.path(format!("{run}/metrics.jsonl"))).unwrap_or_default();
        text.matches("\"name\":\"reward\"").count()
    };
    let mut resume = "";
    // In the table of sensitivities, among the roll-outs, and later.
    for wanted in [0, 5, 11] {
        let mut child = place.start(&format!("{} {resume}", job("killed")));
        while rewards("killed") < wanted || !place.path("killed/checkpoints/search.ckpt").exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        finish(child);
        resume = "--resume";
    }
    place.host(&format!("{} --resume", job("killed"))).expect(0);
    let [whole, killed] = ["whole", "killed"].map(|run| place.json(&format!("{run}/report.json"))["search"].clone());
    assert_eq!(whole, killed);
    assert!(place.bytes("whole.ckpt") == place.bytes("killed.ckpt"), "quantized weights differ");
    assert!(place.bytes("whole.toml") == place.bytes("killed.toml"), "bit plans differ");
    assert_eq!((rewards("whole"), rewards("killed")), (12, 12), "every reward stands in the curves once");
}

#[test]
fn the_search_alone_writes_the_plan_and_a_model() {
    let (place, small) = (with_parent(), small());
    place
        .host(&format!("--learner=rl-agent {small} {SEARCH} {BUDGET} {UNTUNED} --run_dir=run"))
        .expect(0)
        .says(&["bit_plan.toml"]);
    let report = place.json("run/report.json");
    let search = &report["search"];
    let candidates = search["candidates"].as_array().unwrap();
    let chosen = candidates.iter().find(|candidate| candidate["method"] == search["chosen"]).unwrap();
    assert!(candidates.iter().all(|other| other["top1_before"].as_f64() <= chosen["top1_before"].as_f64()));
    // Where roll-outs are tuned, that decides: the plan is for who trains by it.
    let tuning = "--uql_nb_rlouts=4 --uql_tune_global_steps=3 --uql_tune_short_steps=1 --uql_save_bit_plan=tuned.toml";
    place.host(&format!("--learner=rl-agent {small} --uql_w_bit_max=4 {BUDGET} {tuning} --run_dir=tuned")).expect(0);
    let tuned = &place.json("tuned/report.json")["search"];
    let after: Vec<f64> =
        tuned["candidates"].as_array().unwrap().iter().map(|made| made["top1_after"].as_f64().unwrap()).collect();
    let best = after.iter().copied().fold(0.0, f64::max);
    let chosen = tuned["candidates"].as_array().unwrap().iter().position(|made| made["method"] == tuned["chosen"]);
    assert_eq!((after.len(), after[chosen.unwrap()]), (3, best));
    let again = place.host("eval uql_quant_models/model.ckpt --nb_smpls_eval=200 --format=json").expect(0);
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["top1"], report["top1"]);
    let read = format!("--learner=uniform {small} --uql_quant_epochs=0 --uql_bit_plan=bit_plan.toml --run_dir=read");
    place.host(&read).expect(0);
    assert_eq!(place.json("read/report.json")["weight_bits_mean"], report["weight_bits_mean"]);
}

#[test]
fn one_way_alone_and_buckets_count() {
    let place = with_parent();
    for (method, flags) in
        [("uniform", ""), ("sensitivity", "--uql_use_buckets --uql_weight_range=mse"), ("rl", UNTUNED)]
    {
        let flags = format!("--uql_bit_search={method} {flags} --uql_equivalent_bits=3 --uql_quant_epochs=0");
        place.host(&uniform(&format!("{flags} --run_dir={method}"))).expect(0);
        let search = place.json(&format!("{method}/report.json"))["search"].clone();
        let candidates = search["candidates"].as_array().unwrap();
        assert_eq!((candidates.len(), &search["chosen"]), (1, &Value::from(method)));
        let weights: u64 = bits(&search["params"]).iter().sum();
        let bytes = candidates[0]["bytes"].as_u64().unwrap();
        // A layer without buckets has 8 bytes of ranges beyond the budget.
        let layers = search["layers"].as_array().unwrap().len() as u64;
        assert!(bytes <= weights * 3 / 8 + 9 * layers, "{bytes} of {weights}");
        if method == "sensitivity" {
            assert!(mean(&search, &candidates[0]["bits"]) < 3.0 - 0.1, "ranges of buckets count");
        }
    }
}

#[test]
fn an_agent_that_fails_in_the_middle_costs_the_rest_of_the_search_only() {
    let place = with_parent();
    let library = fixture("panics");
    let flags = format!("{BUDGET} {UNTUNED} --uql_enbl_rl_agent --uql_quant_epochs=0 --uql_agent=panics --run_dir=run");
    let dirs = format!("--plugin-dir={} --plugin-dir={}", built().display(), library.display());
    // It is asked for nothing before the third roll-out: the first two follow the others'
    // solutions.
    let failure = ["warning", "the agent failed in roll-out 3", "panicked", "best of its 2 roll-outs is kept"];
    place.host(&format!("{dirs} {} --panic_in_agent=act", uniform(&flags))).expect(0).says(&failure);
    let search = place.json("run/report.json")["search"].clone();
    assert_eq!(search["rollouts"].as_array().unwrap().len(), 2);
    let candidates = search["candidates"].as_array().unwrap();
    assert_eq!(candidates[2]["method"], "rl");
    let before = |index: usize| candidates[index]["top1_before"].as_f64().unwrap();
    assert_eq!(before(2), before(0).max(before(1)));
    // In the first there is nothing of its own to keep.
    let failure = ["the agent failed in roll-out 1", "goes on with the others"];
    let flags = flags.replace("--run_dir=run", "--run_dir=first");
    place.host(&format!("{dirs} {} --panic_in_agent=begin", uniform(&flags))).expect(0).says(&failure);
    assert_eq!(place.json("first/report.json")["search"]["candidates"].as_array().unwrap().len(), 2);
}

#[test]
fn settings_that_make_no_search() {
    let place = with_parent();
    for (flags, said) in [
        ("--uql_enbl_rl_agent --uql_equivalent_bits=1.5", ["uql_equivalent_bits", "2 to 4"]),
        ("--uql_enbl_rl_agent --uql_equivalent_bits=4.5", ["uql_equivalent_bits", "2 to 4"]),
        ("--uql_enbl_rl_agent --uql_w_bit_min=5", ["uql_w_bit_min", "uql_w_bit_max"]),
        ("--uql_enbl_rl_agent --uql_budgets=3,9", ["uql_budgets", "9 bits"]),
        ("--uql_enbl_rl_agent --uql_agent=nobody", ["no agent `nobody`", "rl-agent"]),
        ("--uql_enbl_rl_agent --uql_bit_plan=plan.toml", ["uql_bit_plan", "no search"]),
        ("--uql_enbl_rl_agent --ddpg_buffer_size=16 --ddpg_batch_size=8", ["ddpg_buffer_size", "do not fit"]),
        ("--uql_enbl_rl_agent --uql_equivalent_bits=2 --uql_use_buckets", ["buckets", "raise it"]),
    ] {
        let run = place.host(&uniform(flags)).expect(2).says(&said);
        assert!(!run.stderr.contains("sensitivity "), "nothing is measured before: {}", run.stderr);
    }
    let few = uniform("--uql_enbl_rl_agent").replace("--nb_smpls_val=100", "--nb_smpls_val=0");
    place.host(&few).expect(2).says(&["nb_smpls_val", "held out"]);
    let many = uniform("--uql_enbl_rl_agent").replace("--nb_smpls_train=320", "--nb_smpls_train=100");
    place.host(&many).expect(2).says(&["batch_size", "training images, less than a batch"]);
}

#[test]
fn candidates_that_diverge_are_out_of_the_comparison() {
    let place = with_parent();
    // A loss that no f32 holds.
    let beyond = "--enbl_dst --save_path_dst=models/model.ckpt --loss_w_dst=1e39";
    let flags = uniform(&format!("--uql_enbl_rl_agent {BUDGET} {UNTUNED} --uql_quant_epochs=1 --run_dir=run {beyond}"));
    let run = place.host(&flags).expect(1).says(&["`uniform` is out of the comparison", "diverged"]);
    assert!(run.stderr.contains("`sensitivity` is out of the comparison"), "the next was tried: {}", run.stderr);
    assert!(!place.path("uql_quant_models/model.ckpt").exists());
}

#[test]
fn ranges_that_clip_are_kept_and_batch_norm_can_be_left_alone() {
    let (place, small) = (with_parent(), small());
    let top1 = |name: &str, flags: &str| {
        let paths = format!("--run_dir={name} --uql_save_quant_model_path={name}.ckpt");
        let flags = format!("--learner=uniform {small} --uql_quant_epochs=0 --uql_weight_bits=2 {flags} {paths}");
        place.host(&flags).expect(0);
        let report = place.json(&format!("{name}/report.json"));
        let again = place.host(&format!("eval {name}.ckpt --nb_smpls_eval=200 --format=json")).expect(0);
        let again: Value = serde_json::from_str(&again.stdout).unwrap();
        assert_eq!(again["top1"], report["top1"], "{name}");
        report
    };
    let error = |report: &Value| -> f64 {
        report["layers"].as_array().unwrap().iter().map(|layer| layer["weight_error"].as_f64().unwrap()).sum()
    };
    let (whole, clipped, alone) =
        (top1("minmax", ""), top1("mse", "--uql_weight_range=mse"), top1("alone", "--uql_enbl_bn_reestimate=False"));
    assert_ne!(whole["loss"], alone["loss"]);
    assert_ne!(whole["loss"], clipped["loss"]);
    let ranges = |name: &str| {
        let model = Model::load(&place.path(format!("{name}.ckpt"))).unwrap();
        let pocketflow::tensors::Stored::Packed { quantized, .. } = &model.tensors["layer2.0.conv1.weight"] else {
            panic!("not packed")
        };
        quantized.ranges[0][0]
    };
    assert!(ranges("mse") < ranges("minmax"), "outliers are left out");
    assert!(error(&clipped) < error(&whole), "{} {}", error(&clipped), error(&whole));
}
