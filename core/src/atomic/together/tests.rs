//! Switches that are whole, fail, or were interrupted at any point.

use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// All files of a folder with what they hold.
fn held(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let text = |path: PathBuf| if path.is_dir() { "a folder".into() } else { fs::read_to_string(path).unwrap() };
    let mut held: Vec<_> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), text(entry.path()))).collect();
    held.sort();
    held
}

fn expect(folder: &Path, files: &[(&str, &str)]) {
    let mut expected: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    expected.sort();
    assert_eq!(held(folder), expected);
}

#[test]
fn all_are_replaced_and_nothing_else_stays() {
    let place = folder(&[("a", "old"), ("model.ckpt", "model"), (".b.abcdef.pocketflow.part", "left by a kill")]);
    let together = Together::begin(place.path()).unwrap();
    together.write(&[("a", b"new"), ("b", b"new")]).unwrap();
    expect(place.path(), &[("a", "new"), ("b", "new"), ("model.ckpt", "model")]);
}

#[test]
fn a_folder_in_the_way_of_the_last_keeps_all_as_they_were() {
    let place = folder(&[("a", "old")]);
    fs::create_dir(place.path().join("c")).unwrap();
    let together = Together::begin(place.path()).unwrap();
    let error = together.write(&[("a", b"new"), ("b", b"new"), ("c", b"new")]).unwrap_err().to_string();
    assert!(error.contains("this is a folder"), "{error}");
    expect(place.path(), &[("a", "old"), ("c", "a folder")]);
}

/// A folder as a kill leaves it after the journal was written: `a` was there before, `b` not.
fn interrupted() -> tempfile::TempDir {
    let place = folder(&[("a", "old"), (".a.222222.pocketflow.part", "old")]);
    for name in ["a", "b"] {
        fs::write(place.path().join(format!(".{name}.111111.pocketflow.part")), "new").unwrap();
    }
    let journal = r#"{"files":[
        {"name":"a","new":".a.111111.pocketflow.part","old":".a.222222.pocketflow.part"},
        {"name":"b","new":".b.111111.pocketflow.part","old":null}]}"#;
    fs::write(place.path().join(JOURNAL), journal).unwrap();
    place
}

#[test]
fn an_interrupted_switch_is_completed() {
    for moved in [&[] as &[&str], &["a"], &["a", "b"]] {
        let place = interrupted();
        for name in moved {
            let new = place.path().join(format!(".{name}.111111.pocketflow.part"));
            fs::rename(new, place.path().join(name)).unwrap();
        }
        // Whoever looks for left files in between must not take these.
        temporary::clear(place.path());
        settle(place.path()).unwrap();
        expect(place.path(), &[("a", "new"), ("b", "new")]);
    }
}

#[test]
fn a_switch_that_cannot_be_completed_is_taken_back() {
    let place = interrupted();
    // A rename of this fails.
    let broken = place.path().join(".b.111111.pocketflow.part");
    fs::remove_file(&broken).unwrap();
    fs::create_dir(&broken).unwrap();
    fs::write(place.path().join("b"), "in the way").unwrap();
    let error = Together::begin(place.path()).unwrap_err().to_string();
    assert!(error.contains("cannot write") && error.contains("/b"), "{error}");
    expect(place.path(), &[("a", "old"), ("b", "in the way"), (".b.111111.pocketflow.part", "a folder")]);
}

#[test]
fn a_journal_that_is_not_ours_moves_nothing() {
    for text in [
        "garbage",
        r#"{"files":[{"name":"../a","new":".a.111111.pocketflow.part","old":null}]}"#,
        r#"{"files":[{"name":"a","new":"model.ckpt","old":null}]}"#,
        r#"{"files":[{"name":"a","new":"../.a.111111.pocketflow.part","old":null}]}"#,
    ] {
        let place = folder(&[("model.ckpt", "model"), (JOURNAL, text)]);
        let error = Together::begin(place.path()).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
        expect(place.path(), &[("model.ckpt", "model"), (JOURNAL, text)]);
    }
}

#[test]
fn one_process_at_a_time() {
    let place = folder(&[]);
    let first = Together::begin(place.path()).unwrap();
    assert_eq!(Together::begin(place.path()).unwrap_err().kind(), crate::ErrorKind::Config);
    drop(first);
    Together::begin(place.path()).unwrap();
}
