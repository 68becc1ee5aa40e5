//! The layout of everything that the root module reaches, as a text that is committed: a change of
//! it without a new interface number fails here, not at somebody's old plugin.

use super::RootRef;
use crate::abi::INTERFACE;
use abi_stable::StableAbi;
use abi_stable::type_layout::{TLData, TLFunction, TypeLayout};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

type GetLayout = extern "C" fn() -> &'static TypeLayout;

/// All types that a layout reaches, each once; with fields where they are of this crate, with their
/// size where they are `abi_stable`'s, whose version is pinned.
fn describe(root: &'static TypeLayout) -> String {
    let (mut texts, mut seen, mut left) = (BTreeSet::new(), Vec::new(), vec![root]);
    while let Some(layout) = left.pop() {
        let id = layout.get_utypeid();
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        let size = format!("{}: size {}, alignment {}", name(layout), layout.size(), layout.alignment());
        texts.insert(size + &data(layout) + "\n");
        left.extend(parts(layout));
        if let Some(checks) = layout.extra_checks() {
            left.extend(checks.nested_type_layouts().iter().copied());
        }
    }
    texts.into_iter().collect()
}

/// The types that a type is made of.
fn parts(layout: &'static TypeLayout) -> Vec<&'static TypeLayout> {
    let parts: &[GetLayout] = layout.shared_vars().type_layouts();
    parts.iter().map(|part| part()).collect()
}

fn is_own(layout: &TypeLayout) -> bool {
    layout.package() == env!("CARGO_PKG_NAME")
}

/// With the own types among its parts: `abi_stable` names no type arguments.
fn name(layout: &'static TypeLayout) -> String {
    let mut name = layout.full_type().to_string();
    if !is_own(layout) {
        let named = |part: &TypeLayout| is_own(part) || matches!(part.data(), TLData::Primitive(_));
        let parts: BTreeSet<String> =
            parts(layout).into_iter().filter(|part| named(part)).map(|part| part.full_type().to_string()).collect();
        if !parts.is_empty() {
            let parts: Vec<String> = parts.into_iter().collect();
            let _ = write!(name, " of {}", parts.join(", "));
        }
    }
    name
}

fn data(layout: &'static TypeLayout) -> String {
    let mut text = String::new();
    if !is_own(layout) {
        return text;
    }
    let fields = match layout.data() {
        TLData::Struct { fields } | TLData::Union { fields } => fields,
        TLData::PrefixType(prefix) => {
            let _ = write!(text, ", fields from {} on may be missing", prefix.first_suffix_field);
            prefix.fields
        }
        TLData::Enum(variants) => {
            let names: Vec<String> = variants.variant_names_iter().map(|name| name.to_string()).collect();
            let _ = write!(text, ", variants {}", names.join(" "));
            variants.fields
        }
        TLData::Primitive(_) | TLData::Opaque => return text,
    };
    for field in fields.iter() {
        let functions: Vec<String> = field.function_range().iter().map(|function| signature(&function)).collect();
        let what = if functions.is_empty() { name(field.layout()) } else { functions.join(" and ") };
        let _ = write!(text, "\n  {}: {what}", field.name());
    }
    text
}

fn signature(function: &TLFunction) -> String {
    let parameters: Vec<String> = function.param_type_layouts.iter().map(|layout| name(layout())).collect();
    let result = function.return_type_layout().map_or("()".into(), |layout| name(layout()));
    format!("fn({}) -> {result}", parameters.join("; "))
}

/// The committed text of one interface.
fn file(interface: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/v{interface}/layout.txt"))
}

#[test]
fn the_layout_is_that_of_the_interface() {
    let (now, path) = (describe(<RootRef as StableAbi>::LAYOUT), file(INTERFACE));
    if std::env::var_os("POCKETFLOW_WRITE_GOLDEN").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        now == committed,
        "what crosses the boundary is laid out otherwise than interface {INTERFACE} is: raise `INTERFACE` and, as \
         abi_stable refuses libraries of another layout, `OLDEST_INTERFACE` (core/src/abi/handshake.rs), then run this \
         test with POCKETFLOW_WRITE_GOLDEN=1\n--- {}\n{committed}\n--- now\n{now}",
        path.display()
    );
}

/// A difference that no text shows would be no difference to the test above.
#[test]
fn the_text_names_each_function_and_its_types() {
    let text = describe(<RootRef as StableAbi>::LAYOUT);
    for part in ["declarations: fn() -> RResult", "advance: ", "skip: ", "run_learner: ", "max_level: fn() -> u8"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("0x"), "no address");
}
