//! What the program reads is checked where it enters: what data sets, nets, models and settings say
//! of themselves.

use crate::{Place, patient, with_plugin};
use pocketflow::model::Model;
use pocketflow::tensors::{Stored, TensorFile};

fn liar(flags: &str) -> String {
    format!("{} --learner=reader --net=liar-net {flags}", with_plugin("liar"))
}

#[test]
fn a_data_set_that_describes_itself_wrongly_is_refused_before_a_run_begins() {
    let place = Place::new();
    for (lie, said) in [
        ("name", "its name holds control characters"),
        ("shape_zero", "the shape [3, 0, 2]"),
        ("shape_huge", "the shape [3, 18446744073709551615, 2]"),
        ("no_labels", "0 classes"),
        ("label_name", "the name of class 1"),
        ("mean_short", "`mean` has 2 numbers for 3 channels"),
        ("std_long", "`std` has 4 numbers for 3 channels"),
        ("mean_nan", "`mean` of channel 1 is NaN"),
        ("std_zero", "`std` of channel 2 is 0"),
        ("std_negative", "`std` of channel 0 is -1"),
        ("std_inf", "`std` of channel 0 is inf"),
        ("counts_huge", "18446744073709551615 test images"),
        ("val_above_train", "21 validation images among 20 training images"),
    ] {
        place.host(&liar(&format!("--liar_lie={lie}"))).expect(1).says(&["describes itself wrongly", said]);
    }
    assert!(place.runs().is_empty(), "nothing is left of a run that never was");
    place.host(&liar("")).expect(0);
}

#[test]
fn passes_are_compared_with_what_the_data_set_says() {
    let place = Place::new();
    for (lie, status, said) in [
        ("eval_short", 1, "says 8 images and gave 3 (test images)"),
        ("eval_long", 1, "says 8 images and gave more (test images)"),
        ("val_short", 1, "says 6 images and gave 5 (validation images)"),
        ("plain_short", 1, "says 20 images and gave 19 (training images)"),
        ("train_short", 1, "says 20 images and gave 8 (training images)"),
        ("train_uneven", 1, "a training batch of 3 images instead of 4"),
        ("label_beyond", 1, "the label 2 and names 2 classes"),
        ("empty_batch", 1, "a batch of 0 images"),
        ("no_val", 2, "`nb_smpls_val`"),
        ("no_eval", 2, "`nb_smpls_eval`"),
    ] {
        place.host(&liar(&format!("--liar_lie={lie}"))).expect(status).says(&["data set `liar`", said]);
    }
}

#[test]
fn a_recipe_that_makes_no_training_is_named_with_net_and_field() {
    let place = Place::new();
    for (wrong, said) in [
        ("epochs_nan", "`epochs` is NaN"),
        ("epochs_negative", "`epochs` is -1"),
        ("epochs_zero", "`epochs` is 0"),
        ("rate_nan", "`schedule.init` is NaN"),
        ("rate_negative", "`schedule.peak` is -0.1"),
        ("momentum_one", "`momentum` is 1"),
        ("decay_negative", "`weight_decay` is -1"),
        ("boundaries", "`schedule.boundaries` holds 2 before 1"),
        ("lrn_rate", "`lrn_rate` is inf"),
    ] {
        place.host(&liar(&format!("--liar_recipe={wrong}"))).expect(2).says(&["net `liar-net`", said]);
    }
}

#[test]
fn classes_of_net_and_data_are_compared() {
    let place = Place::new();
    for classes in [1, 3] {
        let said = [&format!("tells {classes} classes apart"), "`liar` has 2"];
        place.host(&liar(&format!("--liar_classes={classes}"))).expect(2).says(&said);
    }
    assert!(place.runs().is_empty());
}

#[test]
fn settings_are_finite_whatever_they_come_from() {
    let place = Place::new();
    let said = ["is not a finite number"];
    for value in ["inf", "-inf", "nan", "1e999"] {
        place.run(&format!("--loss_w_dst={value}")).expect(2).says(&said);
    }
    for (file, text) in [
        ("a.toml", "loss_w_dst = inf\n"),
        ("b.toml", "loss_w_dst = nan\n"),
        ("c.yaml", "loss_w_dst: inf\n"),
        ("d.json", "{\"loss_w_dst\": \"inf\"}\n"),
    ] {
        place.write(file, text);
        place.run(&format!("--config={file}")).expect(2).says(&["loss_w_dst", file]);
    }
    // YAML's own word for it, and a number that JSON cannot hold.
    for (file, text) in [("e.yaml", "loss_w_dst: .inf\n"), ("f.json", "{\"loss_w_dst\": 1e999}\n")] {
        place.write(file, text);
        place.run(&format!("--config={file}")).expect(2).says(&[file]);
    }
    let mut command = place.command(&patient());
    command.env("POCKETFLOW_LOSS_W_DST", "inf");
    crate::outcome(command.spawn().unwrap()).expect(2).says(&said);
    place.run("--input_mean=1,inf,3").expect(2).says(&said);
    assert!(place.runs().is_empty());
}

#[test]
fn a_folder_of_images_that_was_given_and_is_not_there_ends_the_run() {
    let place = Place::new();
    let said = ["`data_dir` = nowhere", "no data set `absent`", "nowhere/here"];
    place.run("--data_dir=nowhere").expect(2).says(&said).says(&["flag --data-dir"]);
    place.write("data.toml", "data_dir = \"nowhere\"\n");
    place.run("--config=data.toml").expect(2).says(&said).says(&["data.toml:1"]);
    let mut command = place.command(&patient());
    command.env("POCKETFLOW_DATA_DIR", "nowhere");
    crate::outcome(command.spawn().unwrap()).expect(2).says(&said).says(&["variable POCKETFLOW_DATA_DIR"]);
    // A folder that holds something else is no better, also for the data set by name.
    place.write("images/there", "");
    place.run("--data_dir=images").expect(2).says(&["`data_dir` = images"]);
    place.run("--data_dir=images --dataset=absent").expect(2).says(&["`data_dir` = images"]);
    assert!(place.runs().is_empty());
    place.run("").expect(0).says(&["STAND-IN"]);
    place.run("--data_dir=nowhere --dataset=substitute").expect(0);
}

#[test]
fn a_model_with_numbers_that_are_none_is_refused() {
    let place = Place::new();
    place.run("--save_path=m.ckpt").expect(0);
    let plugins = with_plugin("patient");
    for bad in [f32::NAN, f32::INFINITY] {
        let mut file = TensorFile::read(&place.path("m.ckpt")).unwrap();
        let Some(Stored::Full { values, .. }) = file.tensors.get_mut("fc.weight") else { panic!("it is not full") };
        values[7] = bad;
        file.write(&place.path("bad.ckpt")).unwrap();
        let said = ["bad.ckpt", "`fc.weight`", &format!("{bad} at index 7"), "train again"];
        place.host(&format!("{plugins} eval bad.ckpt")).expect(1).says(&said);
        place.host(&format!("{plugins} export --model_dir=bad.ckpt")).expect(1).says(&said);
    }
}

#[test]
fn a_model_is_evaluated_without_the_plugin_of_its_net() {
    let place = Place::new();
    place.run("--save_path=m.ckpt").expect(0);
    let mut model = Model::load(&place.path("m.ckpt")).unwrap();
    model.meta.net = "gone-net".into();
    model.save(&place.path("m.ckpt")).unwrap();
    let plugins = with_plugin("patient");
    place.host(&format!("{plugins} eval m.ckpt --dataset=substitute")).expect(0).says(&["small4, 48 parameters"]);
    // Without a data set by name, the file has to know one.
    place.host(&format!("{plugins} eval m.ckpt")).expect(2).says(&["`gone-net`", "--dataset"]);
    model.meta.dataset = "substitute".into();
    model.save(&place.path("m.ckpt")).unwrap();
    place.host(&format!("{plugins} eval m.ckpt")).expect(0);
    place.host(&format!("{plugins} eval m.ckpt --net=gone-net")).expect(2).says(&["`gone-net`"]);
    // The name becomes a part of the run's folder.
    model.meta.net = "../../gone".into();
    model.save(&place.path("m.ckpt")).unwrap();
    place.host(&format!("{plugins} eval m.ckpt")).expect(2).says(&["gone"]);
}
