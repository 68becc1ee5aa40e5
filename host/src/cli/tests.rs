//! Command lines as people write them, and what they read in return.

use super::*;
use crate::layers::sample::declarations;
use proptest::prelude::*;

fn words(text: &str) -> Vec<OsString> {
    std::iter::once("host").chain(text.split_whitespace()).map(OsString::from).collect()
}

fn read(text: &str) -> Result<Invocation, String> {
    let plain = |exit: Exit| anstream::adapter::strip_str(&exit.text).to_string();
    parse_in(&words(text), &declarations(), Some(100)).map_err(plain)
}

fn flags(text: &str) -> Vec<(String, String)> {
    let mut flags = read(text).unwrap().flags;
    flags.sort();
    flags
}

fn pairs(flags: &[(&str, &str)]) -> Vec<(String, String)> {
    flags.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn options_in_every_spelling() {
    let expected =
        pairs(&[("enbl_dst", "true"), ("learner", "uniform"), ("uql_quant_epoch", "3"), ("uql_weight_bits", "4")]);
    assert_eq!(flags("--learner=uniform --uql_weight_bits 4 --uql-quant_epochs=3 --enbl_dst"), expected);
    assert_eq!(flags("run --learner uniform --enbl-dst --uql-weight-bits=4 --uql_quant_epoch 3"), expected);
    assert_eq!(flags("--learner=uniform --enbl_dst run --uql_weight_bits=4 --uql-quant-epochs 3"), expected);
    assert_eq!(flags("--enbl_dst=False --seed -1"), pairs(&[("enbl_dst", "False"), ("seed", "-1")]));
}

#[test]
fn commands() {
    let command = |text: &str| read(text).unwrap().command;
    assert_eq!(command(""), Command::Run);
    assert_eq!(command("--learner=uniform"), Command::Run);
    assert_eq!(command("run"), Command::Run);
    assert_eq!(
        command("eval"),
        Command::Eval { model: None, runtime: "auto".into(), libraries: LibraryPaths::default() }
    );
    let eval = Command::Eval {
        model: Some("m.tflite".into()),
        runtime: "litert".into(),
        libraries: LibraryPaths { litert: Some("lib".into()), onnxruntime: None },
    };
    assert_eq!(command("eval m.tflite --runtime litert --litert lib"), eval);
    assert_eq!(command("plugins"), Command::PluginsList);
    assert_eq!(command("plugins list"), Command::PluginsList);
    assert_eq!(command("plugins show uniform"), Command::PluginsShow { name: "uniform".into() });
    assert_eq!(command("plugins check x.so"), Command::PluginsCheck { file: "x.so".into() });
    assert_eq!(command("config show"), Command::ConfigShow);
    assert_eq!(command("config explain seed"), Command::ConfigExplain { key: "seed".into() });
    assert_eq!(command("config init"), Command::ConfigInit { path: None, force: false });
    assert_eq!(command("config init a.toml --force"), Command::ConfigInit { path: Some("a.toml".into()), force: true });
    assert_eq!(command("completions fish"), Command::Completions { shell: clap_complete::Shell::Fish });
    let bench = Command::Bench {
        models: vec!["a.tflite".into(), "b.onnx".into()],
        images: 500,
        libraries: LibraryPaths::default(),
    };
    assert_eq!(command("bench a.tflite b.onnx"), bench);
}

#[test]
fn the_formats_of_an_export_are_not_those_of_its_table() {
    let made = read("export --model_dir=m --enbl_post_quant=True --format=pb,json --type=uint8").unwrap();
    assert_eq!(made.format, Format::Json);
    let Command::Export(flags) = made.command else { panic!("an export") };
    assert_eq!((flags.formats, flags.target, flags.post_quant), (vec!["pb".to_owned()], "uint8".to_owned(), true));
    let Command::Export(flags) = read("export --model-dir=m").unwrap().command else { panic!("an export") };
    assert_eq!((flags.formats.len(), flags.post_quant, flags.default_ranges), (3, false, None));
    assert!(!flags.onnx_reduce_range);
    let Command::Export(flags) = read("export --model-dir=m --onnx_reduce_range").unwrap().command else {
        panic!("an export")
    };
    assert!(flags.onnx_reduce_range);
    let refused = |text: &str| read(text).unwrap_err();
    assert!(refused("export").contains("--model-dir"));
    assert!(refused("export --model_dir=m --default_ranges_min=-1").contains("both"));
    assert!(refused("export --model_dir=m --default_ranges_min=1 --default_ranges_max=2").contains("zero between"));
}

#[test]
fn flags_of_the_program_at_any_level() {
    let made = read(
        "--config a.toml --plugin_dir p config --config b.yaml show --config=c.json --format json --log debug --seed 1",
    );
    let made = made.unwrap();
    assert_eq!(made.configs, ["a.toml", "b.yaml", "c.json"].map(PathBuf::from));
    assert_eq!(made.plugin_dirs, [PathBuf::from("p")]);
    assert_eq!((made.format, made.log.as_deref()), (Format::Json, Some("debug")));
    assert_eq!(made.flags, pairs(&[("seed", "1")]));
}

#[test]
fn values_are_left_to_the_layers() {
    assert_eq!(
        flags("--uql_weight_bits=four --exec_mode=nonsense"),
        pairs(&[("exec_mode", "nonsense"), ("uql_weight_bits", "four")])
    );
}

#[test]
fn wrong_command_lines() {
    let exit = parse(&words("--uql_weight_bit=4"), &declarations()).unwrap_err();
    assert_eq!((exit.status, exit.to_stdout), (2, false));
    insta::assert_snapshot!(read("--uql_weight_bit=4").unwrap_err(), @r"
    error: unexpected argument '--uql-weight-bit' found

      tip: a similar argument exists: '--uql-weight-bits'

    Usage: host [OPTIONS] [COMMAND]

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(read("--uql_quant_epoch=4 --uql_quant_epochs=5").unwrap_err(), @r"
    error: the argument '--uql-quant-epoch <X>' cannot be used multiple times

    Usage: host [OPTIONS] [COMMAND]

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(read("--enbl_dst false").unwrap_err(), @"error: the value of a switch follows `=`: write `--enbl-dst=false`, or only `--enbl-dst`");
    insta::assert_snapshot!(read("trian").unwrap_err(), @r"
    error: unrecognized subcommand 'trian'

    Usage: host [OPTIONS] [COMMAND]

    For more information, try '--help'.
    ");
    let alone = parse(&words("--uql_weight_bits=4"), &[]).unwrap_err().text;
    assert!(alone.contains("No plugin was found"), "{alone}");
    for wrong in ["config", "config explain", "plugins show", "completions tcsh", "--format xml", "--seed", "eval a b"]
    {
        assert_eq!(parse(&words(wrong), &declarations()).unwrap_err().status, 2, "{wrong}");
    }
}

#[test]
fn help_shows_the_options_of_selected_plugins() {
    let exit = parse(&words("--help"), &declarations()).unwrap_err();
    assert_eq!((exit.status, exit.to_stdout), (0, true));
    insta::assert_snapshot!(read("--learner=uniform --net resnet_cifar10 --help").unwrap_err(), @r"
    Trains and quantizes convolutional image classifiers

    Usage: host [OPTIONS] [COMMAND]

    Commands:
      run          Run the learner on the net (also without a command)
      eval         Evaluate a saved model on the test images
      export       Write a saved model as .tflite, .onnx and .pb, and check the files on images
      import       Read weights of another program as a model of a net
      bench        Measure exported files: size, latency, accuracy, side by side
      data         Look after data sets
      plugins      List plugins, or look at one
      config       Show, explain or write settings
      completions  Print completions for a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
          --config <FILE>     Read settings from a .toml, .yaml or .json file; may be repeated, later
                              files win
          --plugin-dir <DIR>  Look for plugins here first; may be repeated
          --log <FILTER>      What to log, as `debug` or `uniform=trace,info` [variable: RUST_LOG]
          --format <FORMAT>   How tables are printed [default: text] [possible values: text, json]
      -h, --help              Print help
      -V, --version           Print version

    Options of every run:
          --learner <NAME>            The compression method, by the name of its plugin. [default:
                                      full-prec] [possible values: full-prec, uniform]
          --net <NAME>                The network to train or compress, by the name of its plugin.
                                      [possible values: resnet_at_cifar10, resnet_at_ilsvrc12]
          --dataset <NAME>            The images, by the name of a plugin; auto: the net's own, or its
                                      stand-in where the data are not found. [default: auto] [possible
                                      values: auto, cifar10, synthetic]
          --exec-mode <CHOICE>        Train a model, or only evaluate the one that was saved. [default:
                                      train] [possible values: train, eval]
          --data-dir <PATH>           Where the images lie; unset: ./data/ and the name of the data set.
          --device <TEXT>             What computes: auto, cpu, or cuda:N for the GPU number N; auto
                                      prefers a GPU. [default: auto]
          --amp[=<BOOL>]              Mixed precision on a GPU: convolutions in bfloat16, what needs
                                      more in 32 bits. [default: False]
          --threads <N>               Threads for computing; 0: as many as there are cores. [a whole
                                      number from 0 to 4096; default: 0]
          --seed <N>                  Where all random numbers start: the same seed gives the same run.
                                      [a whole number, 0 or more; default: 0]
          --run-dir <PATH>            Where the run leaves its files; unset: a new directory under
                                      ./runs.
      -n, --n <N>                     Workers that train together, each with batches of its own; started
                                      here unless another program starts them. [a whole number from 1 to
                                      1024; default: 1]
          --worker-timeout <N>        Seconds that a worker waits for another one before the run ends.
                                      [a whole number from 1 to 86400; default: 25]
          --save-path <PATH>          The full-precision model: where it goes and is looked for.
                                      [default: ./models/model.ckpt]
          --enbl-warm-start[=<BOOL>]  Start training from the model at save_path. [default: False]
          --enbl-dst[=<BOOL>]         Distillation: learn from the full-precision model's answers too.
                                      [default: False]
          --loss-w-dst <X>            Weight of the distillation loss. [a number, 0 or more; default:
                                      4.0]
          --tempr-dst <X>             Temperature that softens the answers in distillation. [a number
                                      from 0.01 to 1000; default: 4.0]
          --save-path-dst <PATH>      The model that distillation learns from; where there is none, the
                                      one at save_path is saved there. [default:
                                      ./models_dst/model.ckpt]
          --parent-learner <TEXT>     The learner that trains the model at save_path where there is
                                      none. [default: full-prec]
          --summ-step <N>             Training steps between two entries of the metrics. [a whole
                                      number, 1 or more; default: 100]
          --save-step <N>             Training steps between two checkpoints. [a whole number, 1 or
                                      more; default: 10000]
          --resume[=<BOOL>]           Go on from the last checkpoint of the run directory. [default:
                                      False]
          --stand-in-for <TEXT>       The data set whose place a stand-in takes; set by the program when
                                      it falls back to one.
          --eval-split <CHOICE>       The images that accuracy is measured on: eval, the test images;
                                      val, validation images that are held out of training, for choosing
                                      settings without the test images. [default: eval] [possible
                                      values: eval, val]
          --input-mean <X,X,...>      Mean of the pixels (0 to 255) of each channel: the network's input
                                      is (pixel - mean) / std. Unset: the model's that is evaluated,
                                      else the data set's. [numbers from -1000 to 1000, separated by
                                      commas]
          --input-std <X,X,...>       Standard deviation of the pixels of each channel, as input_mean.
                                      [numbers from 0.001 to 1000, separated by commas]

    Options of learner uniform:
          --uql-weight-bits <N>       Bits; 32 turns quantization off. [a whole number from 1 to 32;
                                      default: 4]
          --uql-activation-bits <N>   Bits; 32 turns quantization off. [a whole number from 1 to 32;
                                      default: 32]
          --uql-bucket-type <CHOICE>  What a bucket is. [default: channel] [possible values: channel,
                                      split]
          --uql-use-buckets[=<BOOL>]  Quantize each bucket with a range of its own. [default: False]
          --uql-quant-epoch <X>       Epochs of fine-tuning. [a number, 0 or more; default: 60.0]
                                      [alias: --uql-quant-epochs]
          --uql-boundaries <X,X,...>  Epochs at which the rate falls. [numbers from 0 to inf, separated
                                      by commas]
          --uql-bit-plan <PATH>       A file with the bits of each layer.

    Options of net resnet_at_cifar10:
          --resnet-size <N>    Layers. [a whole number from 8 to 110; default: 8]
          --lrn-rate-init <X>  Initial learning rate. [a number from 0 to 100; default: 0.4]

    Options of dataset cifar10:
          --batch-size <N>  Images in a training batch. [a whole number from 1 to 65536; default: 128]

    Learners: full-prec, uniform
    Nets: resnet_at_cifar10, resnet_at_ilsvrc12
    Data sets: cifar10, synthetic
    Agents: rl-agent
    Options of a plugin: `host plugins show NAME`, or `host --learner=NAME --help`.
    An option is also a key of a file and a variable: uql_weight_bits, POCKETFLOW_UQL_WEIGHT_BITS.
    `host config show` prints all settings, `host config explain KEY` one of them.
    ");
    let plain = read("--help").unwrap_err();
    assert!(!plain.contains("--uql-weight-bits") && plain.contains("--learner=NAME --help"), "{plain}");
    let other = read("run --net=resnet_at_ilsvrc12 --help").unwrap_err();
    assert!(other.contains("from 18 to 152") && !other.contains("from 8 to 110"), "{other}");
}

#[test]
fn version() {
    let exit = parse(&words("--version"), &declarations()).unwrap_err();
    assert_eq!((exit.text.trim(), exit.status, exit.to_stdout), (concat!("host ", env!("CARGO_PKG_VERSION")), 0, true));
}

#[test]
fn a_plugin_that_shares_keys_does_not_break_the_command_line() {
    use pocketflow::option::OptionSpec;
    let mut declarations = declarations();
    let spec = OptionSpec::int("resnet_size", 1, 0..=9, "Doc.").alias("lrn_rate_init");
    declarations[3].options.push(spec);
    assert!(parse(&words("--seed=3"), &declarations).is_ok());
    command(&declarations, Shown::All).debug_assert();
}

#[test]
fn every_flag_of_the_program_is_reserved() {
    let reserved = reserved();
    for key in [
        "config",
        "plugin_dir",
        "plugin_path",
        "log",
        "format",
        "help",
        "version",
        "extends",
        "force",
        "runtime",
        "model_dir",
        "enbl_post_quant",
        "type",
        "calibration_images",
        "default_ranges_min",
        "verify_images",
        "images",
        "litert",
        "onnxruntime",
        "map",
        "model",
    ] {
        assert!(reserved.keys.contains(key), "{key} of {:?}", reserved.keys);
    }
    // What is an option of the host is not forbidden twice.
    assert!(!reserved.keys.contains("learner") && reserved.options.iter().any(|spec| spec.key == "learner"));
    // Every word after two dashes that the help of any command shows is an option or reserved.
    let all = command(&declarations(), Shown::All);
    let mut commands = vec![&all];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands());
        for arg in command.get_arguments().filter(|arg| arg.get_id().as_str().starts_with('@')) {
            let long = arg.get_long().map(|flag| flag.replace('-', "_"));
            assert!(long.as_ref().is_none_or(|long| reserved.keys.contains(long)), "{long:?}");
        }
    }
}

#[test]
fn the_command_is_sound() {
    command(&declarations(), Shown::All).debug_assert();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_words_are_read_or_refused(
        given in prop::collection::vec(
            "(--)?(seed|enbl_dst|uql_weight_bits|config|eval|plugins|show|help|log|-h|=|1|true|\\PC){0,3}",
            0..5,
        ),
    ) {
        let mut args = vec![OsString::from("host")];
        args.extend(given.into_iter().map(OsString::from));
        if let Err(exit) = parse(&args, &declarations()) {
            prop_assert!(!exit.text.is_empty() && (exit.status == 0 || exit.status == 2));
        }
    }
}
