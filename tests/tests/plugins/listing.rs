//! Which plugins are listed, which are refused and why, and what the cache spares.

use crate::fixtures::{discover, in_child, library, patched, settings};
use host::registry::{Check, Registry, Source};
use pocketflow::ErrorKind;
use pocketflow::plugin::PluginKind;
use std::fs;
use std::path::Path;

fn reasons(registry: &Registry, file: &str) -> Vec<String> {
    let of_file = registry.failures().iter().filter(|failure| failure.path.ends_with(file));
    of_file.map(|failure| failure.reason.clone()).collect()
}

fn names(registry: &Registry) -> Vec<String> {
    let name = |entry: &host::registry::Entry| format!("{} {}", entry.declaration.kind, entry.declaration.name);
    registry.entries().iter().map(name).collect()
}

const TOYS: [&str; 4] = ["learner toy", "net toy", "dataset toy", "agent toy"];

/// A folder with the good library and everything that is wrong.
fn fill(folder: &Path) {
    for (file, fixture) in [("a_toy", "toy"), ("hollow", "hollow"), ("misshapen", "misshapen"), ("nothing", "nothing")]
    {
        fs::copy(library(fixture), folder.join(format!("{file}.so"))).unwrap();
    }
    fs::write(folder.join("text.so"), "This is no library.").unwrap();
    let whole = fs::read(library("toy")).unwrap();
    fs::write(folder.join("cut.so"), &whole[..whole.len() / 3]).unwrap();
    patched("toy", &folder.join("newer.so"), |handshake| handshake[16..20].copy_from_slice(&7u32.to_ne_bytes()));
    patched("toy", &folder.join("torch.so"), |handshake| handshake[20..25].copy_from_slice(b"2.9.0"));
    patched("toy", &folder.join("machine.so"), |_| {});
    let mut other = fs::read(folder.join("machine.so")).unwrap();
    // e_machine: AArch64.
    other[18..20].copy_from_slice(&[0xb7, 0]);
    fs::write(folder.join("machine.so"), other).unwrap();
}

#[test]
fn what_is_wrong_is_listed_with_the_reason_and_the_rest_works() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    // A second time from the cache.
    for _ in 0..2 {
        let registry = discover([folder.path()]);
        assert_eq!(names(&registry), TOYS);
        let only = |file: &str| {
            let mut reasons = reasons(&registry, file);
            assert_eq!(reasons.len(), 1, "{file}: {reasons:?}");
            reasons.remove(0)
        };
        assert!(only("text.so").starts_with("is not a library: "));
        assert!(only("nothing.so").starts_with("is no PocketFlow plugin: it has no handshake"));
        assert_eq!(
            only("newer.so"),
            "speaks interface version 7, this host understands none after 1: update the host, or rebuild it against the \
             `pocketflow` of this host"
        );
        assert!(only("torch.so").contains("libtorch 2.9.0"), "{}", only("torch.so"));
        assert!(only("hollow.so").starts_with("it exports no plugins"));
        assert!(only("misshapen.so").starts_with("its tables have another layout"));
        assert!(only("machine.so").contains("is a library for aarch64"), "{}", only("machine.so"));
        assert_eq!(reasons(&registry, "cut.so").len(), 1, "whatever is wrong with a file that ends too early");
        let settings = settings(&registry, &[("toy_width", "3")]);
        assert_eq!(registry.net("toy", &settings).unwrap().graph().unwrap().name, "toy3");
    }
}

#[test]
fn names_and_options_of_others_are_refused_one_plugin_at_a_time() {
    let registry = discover([library("toy"), library("rival")]);
    let listed = ["learner toy", "net decent", "net patients-key", "net toy", "dataset toy", "agent toy"];
    assert_eq!(names(&registry), listed);
    let toy = library("toy").canonicalize().unwrap();
    let toy = toy.display();
    let mut reasons = reasons(&registry, "libpocketflow_fixture_rival.so");
    reasons.sort();
    // Their texts are those of the rules, which have tests of their own.
    let told = |begin: &str, reason: &str| {
        let found =
            reasons.iter().find(|text| text.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {reasons:?}"));
        assert!(found.contains(reason) && found.len() < 500, "{found}");
    };
    told("net `../../escape`: ", "is not a legal name");
    told("net `dashed`: ", "`a-b` is not a legal key");
    told("net `wordy`: ", "`wordy` has a description of 51000 characters; 4000 are allowed");
    reasons.retain(|text| !["net `../", "net `dashed", "net `wordy"].iter().any(|begin| text.starts_with(begin)));
    let want = [
        "net `flags-key`: its option `images` is a name of the program's own; give it another key".to_owned(),
        "net `hosts-key`: its option `run_dir` is taken by the host".to_owned(),
        format!("net `learners-key`: its option `toy_steps` is taken by learner `toy` of `{toy}`"),
        format!("net `other-type`: its option `toy_width` has another type than that of net `toy` of `{toy}`"),
        format!("net `toy`: the name `toy` is that of the net `toy` of `{toy}`, which was found first"),
        "net `twice`: declares the option `twice` twice".to_owned(),
    ];
    assert_eq!(reasons, want);
    // The other way round, the other is first.
    let registry = discover([library("rival"), library("toy")]);
    let error = registry.find(PluginKind::Learner, "toy").unwrap_err().to_string();
    assert!(
        error.starts_with("there is no learner `toy`: a learner of this name was found and is not usable: "),
        "{error}"
    );
    assert!(error.contains("its option `toy_steps` is taken by net `learners-key`"), "{error}");
    assert_eq!(registry.find(PluginKind::Net, "toy").unwrap().declaration.about, "A rival.");
}

#[test]
fn plugins_are_found_by_name_and_alias_or_the_error_lists_them() {
    let registry = discover([library("toy"), library("rival")]);
    assert_eq!(registry.find(PluginKind::Net, "toy-net").unwrap().declaration.name, "toy");
    assert_eq!(registry.find(PluginKind::Learner, "plaything").unwrap().source, {
        Source::File(library("toy").canonicalize().unwrap())
    });
    let error = registry.find(PluginKind::Net, "decemt").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let want = "there is no net `decemt`; did you mean `decent`? (there are decent, patients-key, toy; some plugins could not be loaded, \
                see `host plugins list`)";
    assert_eq!(error.to_string(), want);
    let none = discover([library("nothing")]);
    let error = none.find(PluginKind::Agent, "toy").unwrap_err().to_string();
    assert!(error.starts_with("there is no agent `toy` (no agent is installed"), "{error}");
}

#[test]
fn declarations_come_whole() {
    let registry = discover([library("toy")]);
    let net = &registry.find(PluginKind::Net, "toy").unwrap().declaration;
    assert_eq!((net.about.as_str(), net.version.as_str()), ("A net for tests.", env!("CARGO_PKG_VERSION")));
    assert_eq!((&net.aliases[..], &net.datasets[..]), (&["toy_net".to_owned()][..], &["toy".to_owned()][..]));
    let unbounded = pocketflow::option::Kind::Float { min: f64::NEG_INFINITY, max: f64::INFINITY };
    assert_eq!(net.options[1].kind, unbounded);
}

#[test]
fn a_check_says_everything_about_a_file() {
    let good = check(&library("toy"));
    assert!(good.is_usable(), "{:?}", good.problems);
    assert_eq!((good.interface, good.libtorch, good.declarations.len()), (Some(1), None, 4));
    let rival = check(&library("rival"));
    let problems: Vec<&str> = rival.problems.iter().filter_map(|problem| problem.split(':').next()).collect();
    let wrong = ["../../escape", "dashed", "flags-key", "hosts-key", "other-type", "twice", "wordy"]
        .map(|name| format!("net `{name}`"));
    assert_eq!(problems, wrong, "wrong without knowing other libraries");
    let panics = check(&library("panics"));
    assert_eq!((panics.declarations.len(), panics.problems.len()), (4, 1));
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let torch = check(&folder.path().join("torch.so"));
    assert_eq!((torch.interface, torch.libtorch.as_deref()), (Some(1), Some("2.9.0")));
    assert!(torch.problems[0].contains("libtorch 2.9.0"));
    assert_eq!(check(&folder.path().join("newer.so")).interface, Some(7));
    assert!(!check(Path::new("/nowhere.so")).is_usable());
}

fn check(path: &Path) -> Check {
    Registry::check(path, &host::reserved())
}

/// Whether this process has mapped a file, or the private copy of it, which has its name.
fn is_loaded(path: &Path) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter_map(|line| Path::new(line).file_name()).any(|name| Some(name) == path.file_name())
}

const FOLDER: &str = "POCKETFLOW_TEST_FOLDER";

#[test]
fn plugins_are_described_unloaded_and_loaded_when_made() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let file = Path::new(&folder).join("toy.so");
        let registry = discover([&file]);
        println!("loaded at discovery: {}", is_loaded(&file));
        match registry.net("toy", &settings(&registry, &[])) {
            Ok(net) => println!("made: {}", net.graph().unwrap().name),
            Err(error) => println!("not made: {error}"),
        }
        println!("loaded at last: {}", is_loaded(&file));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("toy.so");
    fs::copy(library("toy"), &file).unwrap();
    let run = || {
        let test = "listing::plugins_are_described_unloaded_and_loaded_when_made";
        in_child(test, &[(FOLDER, folder.path()), ("XDG_CACHE_HOME", folder.path())]).unwrap().0
    };
    // Tried in another process, then described from the cache.
    for _ in 0..2 {
        let said = run();
        assert!(said.contains("loaded at discovery: false"), "{said}");
        assert!(said.contains("made: toy4") && said.contains("loaded at last: true"), "{said}");
    }

    fs::write(folder.path().join("pocketflow/plugins.cache"), "garbage").unwrap();
    assert!(run().contains("made: toy4"));

    // Another library of the same length and, as far as a user can set it, time.
    let meta = fs::metadata(&file).unwrap();
    let mut rival = fs::read(library("rival")).unwrap();
    rival.resize(meta.len().try_into().unwrap(), 0);
    let time = meta.modified().unwrap();
    fs::write(&file, rival).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    let changed = run();
    assert!(changed.contains("made: SameName"), "{changed}");
}
