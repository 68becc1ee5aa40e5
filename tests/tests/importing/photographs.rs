//! The nets for ILSVRC-12 where there are no photographs: the stand-in has their classes and the
//! size that the net asks for.

use pocketflow_tests::place::Place;

const FEW: &str =
    "--nb_smpls_train=16 --nb_smpls_val=4 --nb_smpls_eval=8 --batch_size=8 --batch_size_eval=8 --threads=1";

#[test]
fn nets_agree_with_the_stand_in_by_themselves() {
    let place = Place::new();
    let mobilenet = format!("--net=mobilenet_at_ilsvrc12 --mobilenet_depth_mult=0.25 --image_size=64 {FEW}");
    let trained = place.host(&format!("--learner=uniform-tf {mobilenet} --nb_epochs_rat=0.02 --run_dir=tf")).expect(0);
    trained.says(&["stand-in"]);
    let settings = String::from_utf8(place.bytes("tf/run.toml")).unwrap();
    assert!(settings.contains("nb_classes = 1001") && settings.contains("image_size = 64"), "{settings}");
    // The saved model knows what it takes.
    place.host(&format!("eval models_uqtf_eval/model.ckpt {FEW} --run_dir=again")).expect(0);
    let (first, again) = (place.json("tf/report.json"), place.json("again/report.json"));
    assert_eq!(first["top1"], again["top1"]);
    place
        .host(&format!("eval models_uqtf_eval/model.ckpt {FEW} --image_size=48"))
        .expect(2)
        .says(&["64 × 64", "48 × 48"]);
}

#[test]
fn an_evaluation_goes_by_the_conventions_of_the_model() {
    let place = Place::new();
    let net = format!("--net=mobilenet_at_ilsvrc12 --mobilenet_depth_mult=0.25 --image_size=32 {FEW}");
    place.host(&format!("{net} --mobilenet_style=torchvision --nb_epochs_rat=0.01")).expect(0);
    place.host(&format!("eval models/model.ckpt {FEW} --run_dir=again")).expect(0);
    // They decide how photographs are cut out, too.
    let settings = String::from_utf8(place.bytes("again/run.toml")).unwrap();
    assert!(settings.contains("mobilenet_style = \"torchvision\"  # derived: the model was made so"), "{settings}");
}

#[test]
fn an_agent_gives_bits_to_depthwise_layers() {
    let place = Place::new();
    let mobilenet = format!("--net=mobilenet_at_ilsvrc12 --mobilenet_depth_mult=0.25 --image_size=32 {FEW}");
    place.host(&format!("--learner=full-prec {mobilenet} --nb_epochs_rat=0.01")).expect(0);
    let search = "--uql_enbl_rl_agent --uql_equivalent_bits=4 --uql_w_bit_min=3 --uql_w_bit_max=5 --uql_nb_rlouts=8";
    let tuning = "--uql_tune_short_steps=1 --uql_tune_global_steps=2 --uql_quant_epochs=1";
    place.host(&format!("--learner=uniform {mobilenet} {search} {tuning} --run_dir=run")).expect(0);
    let search = &place.json("run/report.json")["search"];
    let names: Vec<&str> = search["layers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!((names.len(), names[0]), (26, "blocks.0.depthwise"));
    assert_eq!(search["rollouts"].as_array().unwrap().len(), 8);
}

#[test]
fn a_residual_network_in_eight_bits() {
    let place = Place::new();
    let bits = "--uql_weight_bits=8 --uql_activation_bits=8 --uql_use_buckets --uql_quant_epochs=1";
    // By name, the stand-in is in the shape of what the net is for, too.
    let net = format!("--net=resnet_at_ilsvrc12 --dataset=synthetic --image_size=32 --nb_classes=11 {FEW}");
    place.host(&format!("--learner=uniform {net} {bits} --nb_epochs_rat=0.01 --run_dir=run")).expect(0);
    let report = place.json("run/report.json");
    assert_eq!(report["layers"].as_array().unwrap().len(), 21);
    assert!(report["weight_bits_mean"].as_f64().unwrap() < 8.1);
    place.host(&format!("{net} --nb_classes=5 --dataset=cifar10 --data_dir=none")).expect(2);
}

#[test]
fn a_parent_of_another_normalisation_is_refused_with_the_flags() {
    let place = Place::new();
    let net = format!("--net=mobilenet_at_ilsvrc12 --mobilenet_depth_mult=0.25 --image_size=64 {FEW}");
    let own = "--input_mean=100,110,120.5 --input_std=50,50,50";
    place.host(&format!("{net} {own} --nb_epochs_rat=0.01 --run_dir=run")).expect(0);
    let uniform = format!("--learner=uniform {net} --uql_quant_epochs=0");
    let refused = place.host(&uniform).expect(2);
    refused.says(&["models/model.ckpt", "--input-mean=100,110,120.5 --input-std=50,50,50"]);
    place.host(&format!("{uniform} {own}")).expect(0);
    // An evaluation takes the model's own.
    place.host(&format!("eval models/model.ckpt {FEW} --run_dir=again")).expect(0);
    assert_eq!(place.json("run/report.json")["loss"], place.json("again/report.json")["loss"]);
    place.host(&format!("{net} --input_mean=1,2")).expect(2).says(&["3 channels"]);
}
