//! `host plugins list|show|check`: which plugins there are, which are not usable and why, and what
//! options one has.

use crate::cli::Format;
use crate::refused::why_missing;
use crate::registry::{Check, Entry, Failure, Registry, Reserved, Source};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use pocketflow::abi::{INTERFACE, OLDEST_INTERFACE};
use pocketflow::names;
use pocketflow::option::OptionSpec;
use pocketflow::plugin::{Declaration, PluginKind};
use pocketflow::{Error, Result};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;
use std::path::Path;

const KINDS: [PluginKind; 4] = [PluginKind::Learner, PluginKind::Net, PluginKind::Dataset, PluginKind::Agent];

/// `plugins list`.
pub fn list(registry: &Registry, format: Format) -> String {
    let (entries, failures) = (registry.entries(), registry.failures());
    match format {
        Format::Text => list_text(entries, failures),
        Format::Json => list_json(entries, failures),
    }
}

/// `plugins show NAME`: a name or an alias, of any kind.
///
/// # Errors
/// No plugin has this name; the message lists those there are.
pub fn show(registry: &Registry, name: &str, format: Format) -> Result<String> {
    let found: Vec<&Entry> = KINDS.into_iter().filter_map(|kind| registry.find(kind, name).ok()).collect();
    if found.is_empty() {
        return Err(unknown(registry, name));
    }
    Ok(match format {
        Format::Text => found.iter().map(|entry| show_text(entry)).collect::<Vec<_>>().join("\n"),
        Format::Json => pretty(&Json::Array(found.iter().map(|entry| entry_json(entry, true)).collect())),
    })
}

/// `plugins check FILE`: what the file offers, and whether this host can use it.
pub fn check(file: &Path, reserved: &Reserved, format: Format) -> (String, bool) {
    let check = Registry::check(file, reserved);
    let text = match format {
        Format::Text => check_text(&check),
        Format::Json => check_json(&check),
    };
    (text, check.is_usable())
}

fn list_text(entries: &[Entry], failures: &[Failure]) -> String {
    let mut text = String::new();
    if entries.is_empty() {
        text +=
            "no plugins; they are looked for in --plugin-dir, then POCKETFLOW_PLUGIN_PATH, then beside the program\n";
    } else {
        let mut table = Table::new();
        // Lines that scripts and `grep` can use: nothing drawn, nothing wrapped.
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["KIND", "NAME", "VERSION", "ABOUT", "FILE"]);
        for Entry { declaration, source, .. } in entries {
            let kind = declaration.kind.to_string();
            table.add_row([&kind, &declaration.name, &declaration.version, &declaration.about, &file(source)]);
        }
        text += &lines(&table);
    }
    let noted: Vec<&Entry> = entries.iter().filter(|entry| !entry.declaration.notes.is_empty()).collect();
    if !noted.is_empty() {
        text += "\nnewer than this host, usable in part:\n";
        for Entry { declaration, source, .. } in noted {
            let _ = writeln!(text, "  {} `{}` of {source}", declaration.kind, declaration.name);
            text += &notes(declaration, "    ");
        }
    }
    if !failures.is_empty() {
        text += "\nnot usable:\n";
        for Failure { path, reason, .. } in failures {
            let _ = writeln!(
                text,
                "  {}\n    {}",
                names::shown_line(&path.display().to_string()),
                names::shown_text(reason.trim_end()).replace('\n', "\n    ")
            );
        }
    }
    text
}

/// What this host could not read of a plugin, one a line.
fn notes(declaration: &Declaration, indent: &str) -> String {
    declaration.notes.iter().map(|note| format!("{indent}{}\n", names::shown_line(note))).collect()
}

/// A table's lines without the padding at their borders.
fn lines(table: &Table) -> String {
    let trimmed = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned() + "\n");
    trimmed.collect()
}

fn file(source: &Source) -> String {
    match source {
        Source::Linked => "built in".into(),
        Source::File(path) => path.display().to_string(),
    }
}

fn list_json(entries: &[Entry], failures: &[Failure]) -> String {
    let failed: Vec<Json> = failures
        .iter()
        .map(|failure| json!({ "file": failure.path.display().to_string(), "reason": failure.reason }))
        .collect();
    let plugins: Vec<Json> = entries.iter().map(|entry| entry_json(entry, false)).collect();
    pretty(&json!({ "plugins": plugins, "failed": failed }))
}

fn entry_json(entry: &Entry, options: bool) -> Json {
    let Declaration { kind, name, aliases, about, version, datasets, notes, .. } = &entry.declaration;
    let file = match &entry.source {
        Source::Linked => None,
        Source::File(path) => Some(path.display().to_string()),
    };
    let mut object = json!({
        "kind": kind, "name": name, "aliases": aliases, "version": version, "about": about, "datasets": datasets,
        "file": file, "notes": notes,
    });
    if options {
        let of = |spec: &OptionSpec| {
            json!({
                "key": spec.key, "aliases": spec.aliases, "type": spec.kind.to_string(), "default": spec.default,
                "doc": spec.doc,
            })
        };
        object["options"] = entry.declaration.options.iter().map(of).collect();
    }
    object
}

fn pretty(json: &Json) -> String {
    format!("{json:#}")
}

fn show_text(entry: &Entry) -> String {
    let Declaration { kind, name, aliases, about, version, options, datasets, .. } = &entry.declaration;
    let mut text = format!("{kind} {name} {version}\n{about}\n\n");
    if !aliases.is_empty() {
        let _ = writeln!(text, "also called  {}", aliases.join(", "));
    }
    if !datasets.is_empty() {
        let what = if *kind == PluginKind::Net { "data set" } else { "stands in for" };
        let _ = writeln!(text, "{what:<12} {}", datasets.join(", "));
    }
    let _ = writeln!(text, "file         {}", file(&entry.source));
    if options.is_empty() {
        text += "\nNo options.\n";
    } else {
        text += "\nOptions:\n";
    }
    for spec in options {
        let default = match &spec.default {
            Some(value) if value.to_string().is_empty() => "empty".into(),
            Some(value) => value.to_string(),
            None => "unset".into(),
        };
        let _ = writeln!(text, "  --{}  ({}; default: {default})", spec.flag(), spec.kind);
        if !spec.aliases.is_empty() {
            let aliases: Vec<String> =
                spec.aliases.iter().map(|alias| format!("--{}", alias.replace('_', "-"))).collect();
            let _ = writeln!(text, "      also {}", aliases.join(", "));
        }
        let _ = writeln!(text, "      {}", spec.doc.replace('\n', "\n      "));
    }
    if !entry.declaration.notes.is_empty() {
        text = text + "\nNewer than this host, usable in part:\n" + &notes(&entry.declaration, "  ");
    }
    text
}

fn check_text(Check { path, interface, libtorch, declarations, problems }: &Check) -> String {
    let mut text = format!("{}\n", path.display());
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    line("interface", &interface.map_or("none".into(), |version| format!("{version} (this host: {})", understood())));
    line("libtorch", libtorch.as_deref().unwrap_or("not used"));
    for Declaration { kind, name, about, version, options, .. } in declarations {
        line(&kind.to_string(), &format!("{name} {version}, {} options: {about}", options.len()));
    }
    let noted: String = declarations.iter().map(|plugin| notes(plugin, "    ")).collect();
    if !noted.is_empty() {
        text = text + "  newer than this host, usable in part:\n" + &noted;
    }
    match problems.is_empty() {
        true => text += "usable\n",
        false => text += "not usable:\n",
    }
    for problem in problems {
        let _ = writeln!(text, "  {}", names::shown_text(problem.trim_end()).replace('\n', "\n    "));
    }
    text
}

/// The interfaces that this host understands: `3`, or `2 to 3`.
fn understood() -> String {
    match (OLDEST_INTERFACE, INTERFACE) {
        (oldest, newest) if oldest == newest => newest.to_string(),
        (oldest, newest) => format!("{oldest} to {newest}"),
    }
}

fn check_json(check: &Check) -> String {
    let Check { path, interface, libtorch, declarations, problems } = check;
    let plugins: Vec<Json> = declarations
        .iter()
        .map(|plugin| {
            json!({ "kind": plugin.kind, "name": plugin.name, "version": plugin.version, "notes": plugin.notes })
        })
        .collect();
    pretty(&json!({
        "file": path.display().to_string(), "interface": interface, "libtorch": libtorch, "plugins": plugins,
        "problems": problems, "usable": check.is_usable(),
    }))
}

fn unknown(registry: &Registry, name: &str) -> Error {
    let known: Vec<&str> = registry.entries().iter().map(|entry| entry.declaration.name.as_str()).collect();
    let refused = registry.refused();
    if let Some(why) = KINDS.into_iter().find_map(|kind| why_missing(&refused, kind, name)) {
        return Error::config(format!("no plugin is called `{}`: {why}", names::shown(name)));
    }
    let hint = names::hint(name, known.iter().copied());
    let there = if known.is_empty() { "there are none".into() } else { format!("there are {}", known.join(", ")) };
    Error::config(format!("no plugin is called `{}`{hint} ({there})", names::shown(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_of_a_plugin_is_listed() {
        let mut declaration = Declaration::new(PluginKind::Net, "newer");
        declaration.notes =
            vec!["its option `newer_wait` is of the type `Duration`".into(), "an option\u{1b}[2J".into()];
        let entry = Entry { declaration: declaration.clone(), source: Source::File("/newer.so".into()) };
        let plain = Entry { declaration: Declaration::new(PluginKind::Net, "plain"), source: Source::Linked };
        let part = "newer than this host, usable in part:\n";
        let list = list_text(&[plain.clone(), entry.clone()], &[]);
        let want =
            format!("{part}  net `newer` of `/newer.so`\n    its option `newer_wait` is of the type `Duration`\n");
        assert!(list.contains(&want) && !list.contains('\u{1b}'), "{list}");
        let check = Check { declarations: vec![declaration], ..Check::default() };
        assert!(check_text(&check).contains(part) && check.is_usable());
        assert!(show_text(&entry).contains("usable in part"));
        assert!(!list_text(&[plain], &[]).contains("in part"));
    }
}
