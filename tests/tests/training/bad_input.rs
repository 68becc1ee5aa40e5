//! What is wrong is named, with what to do, by the right exit status, and nothing is lost.

use pocketflow::model::Model;
use pocketflow_tests::place::{Place, SMALL};
use std::fs;

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint() {
    let place = Place::new();
    let run = format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.02 --lrn_rate_init=100 --loss_w_dcy=1 --run_dir");
    let advice = ["diverged", " step ", "lower the learning rate"];
    place.host(&format!("{run}=run --save_step=1")).expect(1).says(&advice).says(&["last good checkpoint"]);
    // Without a checkpoint at each step it is the loss that shows it.
    place.host(&format!("{run}=other")).expect(1).says(&advice).says(&["the loss is"]);
    assert!(place.path("run/checkpoints/full-prec.ckpt").exists());
    assert!(!place.path("models/model.ckpt").exists(), "no model of a run that failed");
}

#[test]
fn a_model_that_is_cut_or_of_another_net() {
    let place = Place::new();
    place.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.004")).expect(0);
    let uniform = format!("--learner=uniform {SMALL} --uql_quant_epochs=0");
    let other = uniform.replace("resnet_size=8", "resnet_size=14");
    place.host(&other).expect(2).says(&["models/model.ckpt", "resnet14_at_cifar10", "resnet8_at_cifar10"]);
    let model = place.bytes("models/model.ckpt");
    fs::write(place.path("models/model.ckpt"), &model[..model.len() / 2]).unwrap();
    place.host(&uniform).expect(1).says(&["models/model.ckpt", "cut"]);
    assert!(!place.path("uql_quant_models").exists(), "nothing half-made");
    place.host("eval nothing.ckpt").expect(2).says(&["nothing.ckpt"]);
}

#[test]
fn a_quantized_model_is_no_parent_and_no_teacher() {
    let place = Place::new();
    place.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.004")).expect(0);
    let buckets = "--uql_use_buckets --uql_bucket_type=split --uql_bucket_size=1";
    let run = place.host(&format!("--learner=uniform {SMALL} --uql_quant_epochs=0 {buckets} --run_dir=run")).expect(0);
    // Ranges of buckets that hold one weight take more than the weights.
    run.says(&["uql_bucket_size", "ranges of buckets"]);
    // Elsewhere, as no run may write over its own parent.
    let quantized = "child.ckpt";
    fs::copy(place.path("uql_quant_models/model.ckpt"), place.path(quantized)).unwrap();
    let said = [quantized, "is quantized", "weights in 4 bits", "learner `uniform`", "not quantized"];
    for learner in ["uniform --uql_quant_epochs=0", "uniform-tf", "rl-agent", "full-prec --enbl_warm_start"] {
        let flags = format!("--learner={learner} {SMALL} --nb_epochs_rat=0.004 --save_path={quantized}");
        let run = place.host(&flags).expect(2);
        run.says(&said).says(&["`save_path`", "flag --save-path"]);
    }
    let taught = format!("--learner=uniform {SMALL} --uql_quant_epochs=1 --enbl_dst --save_path_dst={quantized}");
    place.host(&taught).expect(2).says(&said).says(&["`save_path_dst`"]);
}

#[test]
fn a_warm_start_goes_by_the_same_rules_as_a_parent() {
    let place = Place::new();
    let first = format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.004");
    place.host(&first).expect(0);
    let again = format!("{first} --enbl_warm_start");
    let said = ["models/model.ckpt", "takes its input with mean", "--input-mean="];
    place.host(&format!("{again} --input_mean=1,2,3 --input_std=4,5,6")).expect(2).says(&said);
    let mut model = Model::load(&place.path("models/model.ckpt")).unwrap();
    model.meta.dataset = "cifar10".into();
    model.save(&place.path("models/model.ckpt")).unwrap();
    place.host(&again).expect(2).says(&["models/model.ckpt", "was trained on `cifar10`", "`synthetic`"]);
}

#[test]
fn images_to_measure_the_accuracy_on_are_needed_before_the_training() {
    let place = Place::new();
    let few = SMALL.replace("--nb_smpls_val=100", "--nb_smpls_val=0");
    let run = place.host(&format!("--learner=full-prec {few} --eval_split=val --nb_epochs_rat=0.004")).expect(2);
    assert!(!run.stderr.contains("epochs"), "nothing is trained: {}", run.stderr);
    run.says(&["nb_smpls_val", "no validation images"]);
    place.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=1e-6")).expect(2).says(&["nb_epochs_rat"]);
}

#[test]
fn cifar_files_that_are_missing_or_cut() {
    let place = Place::new();
    fs::create_dir(place.path("cifar")).unwrap();
    let flags = "--learner=full-prec --net=resnet_at_cifar10 --dataset=cifar10 --data_dir=cifar";
    place.host(flags).expect(2).says(&["cifar", "cifar-10-binary.tar.gz"]);
    for index in 1..=5 {
        fs::write(place.path(format!("cifar/data_batch_{index}.bin")), vec![0; 3073]).unwrap();
    }
    place.host(flags).expect(1).says(&["test_batch.bin"]);
    fs::write(place.path("cifar/test_batch.bin"), vec![0; 3073]).unwrap();
    place.host(flags).expect(1).says(&["data_batch_1.bin", "30730000", "3073"]);
}

#[test]
fn settings_that_do_not_go_together() {
    let place = Place::new();
    let large = SMALL.replace("--batch_size=64", "--batch_size=2000");
    place.host(&format!("--learner=full-prec {large}")).expect(2).says(&["batch_size", "960"]);
    let size = "--learner=full-prec --net=resnet_at_cifar10 --resnet_size=21";
    place.host(size).expect(2).says(&["resnet_size", "6n+2", "20", "26", "flag --resnet"]);
    fs::write(place.path("plan.toml"), "[weight_bits]\n\"layer9.0.conv1\" = 2\n").unwrap();
    place.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.004")).expect(0);
    let plan = format!("--learner=uniform {SMALL} --uql_bit_plan=plan.toml");
    place.host(&plan).expect(2).says(&["plan.toml", "layer9.0.conv1", "layer1.0.conv1"]);
    fs::write(place.path("plan.toml"), "[weight_bits]\n\"conv1\" = \"two\"\n").unwrap();
    place.host(&plan).expect(2).says(&["plan.toml:2"]);
}

#[test]
fn a_save_path_that_cannot_be_written_keeps_what_was_there() {
    let place = Place::new();
    place.host(&format!("--learner=full-prec {SMALL} --nb_epochs_rat=0.004")).expect(0);
    fs::write(place.path("file"), "in the way").unwrap();
    let flags = format!("--learner=uniform {SMALL} --uql_quant_epochs=0 --uql_save_quant_model_path=file/model.ckpt");
    place.host(&flags).expect(2).says(&["flag --uql-save-quant-model-path", "file/model.ckpt", "choose another path"]);
    assert_eq!(place.bytes("file"), b"in the way");
}

#[test]
fn results_of_one_run_that_would_replace_each_other_or_the_parent() {
    let place = Place::new();
    let uniform = format!("--learner=uniform {SMALL} --uql_quant_epochs=0 --run_dir=run");
    let same = [("models/model.ckpt", "is written"), ("./models/../models/model.ckpt", "is written")];
    for (path, said) in same {
        place.host(&format!("{uniform} --uql_save_quant_model_path={path}")).expect(2).says(&[said, "`save_path`"]);
    }
    fs::create_dir(place.path("models")).unwrap();
    fs::write(place.path("models/model.ckpt"), "the parent").unwrap();
    fs::hard_link(place.path("models/model.ckpt"), place.path("second.ckpt")).unwrap();
    std::os::unix::fs::symlink("models/model.ckpt", place.path("link.ckpt")).unwrap();
    for path in ["models/model.ckpt", "./models/model.ckpt", "second.ckpt", "link.ckpt"] {
        let said = ["flag --uql-save-quant-model-path", "the file of `save_path`, which is read", "give another path"];
        place.host(&format!("{uniform} --uql_save_quant_model_path={path}")).expect(2).says(&said);
    }
    let tf =
        format!("--learner=uniform-tf {SMALL} --run_dir=run --uqtf_save_path=a.ckpt --uqtf_save_path_eval=./a.ckpt");
    place.host(&tf).expect(2).says(&["flag --uqtf-save-path-eval", "`uqtf_save_path` = a.ckpt"]);
    let search = format!("--learner=rl-agent {SMALL} --run_dir=run --uql_save_bit_plan=models/model.ckpt");
    place.host(&search).expect(2).says(&["flag --uql-save-bit-plan", "`save_path`"]);
    let plan = format!(
        "--learner=uniform {SMALL} --run_dir=run --uql_enbl_rl_agent --uql_save_quant_model_path=run/bit_plan.toml"
    );
    place.host(&plan).expect(2).says(&["`uql_save_bit_plan`, which is unset,"]);
    assert_eq!(place.bytes("models/model.ckpt"), b"the parent");
    assert!(!place.path("run").exists(), "no folder of a run that did not begin");
}

#[test]
fn a_warm_start_without_a_parent_trains_the_parent_from_nothing() {
    let place = Place::new();
    let short = "--nb_epochs_rat=0.004 --uql_quant_epochs=0";
    let flags = format!("--learner=uniform {SMALL} {short} --enbl_warm_start --enbl_dst --run_dir=run");
    let outcome = place.host(&flags).expect(0).says(&["no full-precision model at ./models/model.ckpt"]);
    assert!(place.path("models/model.ckpt").exists() && place.path("models_dst/model.ckpt").exists());
    assert!(!outcome.stderr.contains("trains without a teacher"), "{}", outcome.stderr);
}
