//! Who owns which name and which option: what comes later and wants the same is refused.

use super::Source;
use pocketflow::names::{canonical, shown};
use pocketflow::option::{Kind, OptionSpec};
use pocketflow::plugin::{Declaration, PluginKind};
use std::collections::{BTreeSet, HashMap};
use std::mem::{Discriminant, discriminant};

/// The keys that belong to the program, whatever plugins there are.
#[derive(Debug, Clone, Default)]
pub struct Reserved {
    /// The options of the host.
    pub options: Vec<OptionSpec>,
    /// Keys of flags, variables and lines of files that are no options.
    pub keys: BTreeSet<String>,
    /// Words that stand in the place of a plugin's name and mean something else, as `auto`.
    pub names: BTreeSet<String>,
}

/// The names and keys taken so far.
#[derive(Default)]
pub struct Claims {
    reserved: Reserved,
    names: HashMap<(PluginKind, String), String>,
    /// All claims on a key are of one kind of plugin and one type.
    keys: HashMap<String, Claim>,
}

struct Claim {
    /// `None`: the host.
    kind: Option<PluginKind>,
    /// For an alias, the key that it stands for.
    key: String,
    value: Discriminant<Kind>,
    owner: String,
}

impl Claims {
    pub fn new(reserved: &Reserved) -> Self {
        let mut claims = Self { reserved: reserved.clone(), ..Self::default() };
        for spec in &reserved.options {
            claims.claim(None, "the host", spec);
        }
        claims
    }

    fn claim(&mut self, kind: Option<PluginKind>, owner: &str, spec: &OptionSpec) {
        for key in keys(spec) {
            let claim =
                Claim { kind, key: canonical(&spec.key), value: discriminant(&spec.kind), owner: owner.to_owned() };
            self.keys.entry(key).or_insert(claim);
        }
    }

    /// Takes a plugin's names and keys, all or none.
    ///
    /// # Errors
    /// One is taken, or the declaration is wrong in itself; the text names the key and its owner.
    pub fn admit(&mut self, declaration: &Declaration, source: &Source) -> Result<(), String> {
        let Declaration { kind, name, aliases, options, .. } = declaration;
        let who = format!("{kind} `{}`", shown(name));
        declaration.check().map_err(|problem| format!("{who}: {problem}"))?;
        let names: Vec<(PluginKind, String)> =
            std::iter::once(name).chain(aliases).map(|name| (*kind, canonical(name))).collect();
        if let Some((_, word)) = names.iter().find(|(_, name)| self.reserved.names.contains(name)) {
            return Err(format!("{who}: the name `{word}` means something else to the program"));
        }
        for taken in &names {
            if let Some(owner) = self.names.get(taken) {
                return Err(format!("{who}: the name `{}` is that of the {owner}, which was found first", taken.1));
            }
        }
        let mut own = HashMap::new();
        for spec in options {
            for key in keys(spec) {
                if own.insert(key.clone(), ()).is_some() {
                    return Err(format!("{who}: declares the option `{key}` twice"));
                }
                if self.reserved.keys.contains(&key) {
                    return Err(format!(
                        "{who}: its option `{key}` is a name of the program's own; give it another key"
                    ));
                }
                let Some(claim) = self.keys.get(&key) else { continue };
                let owner = &claim.owner;
                if claim.kind != Some(*kind) {
                    return Err(format!("{who}: its option `{key}` is taken by {owner}"));
                }
                if claim.value != discriminant(&spec.kind) {
                    return Err(format!("{who}: its option `{key}` has another type than that of {owner}"));
                }
                if claim.key != canonical(&spec.key) {
                    return Err(format!("{who}: its option `{key}` means something else to {owner}"));
                }
            }
        }
        let owner = format!("{who} of {source}");
        for spec in options {
            self.claim(Some(*kind), &owner, spec);
        }
        self.names.extend(names.into_iter().map(|name| (name, owner.clone())));
        Ok(())
    }
}

fn keys(spec: &OptionSpec) -> impl Iterator<Item = String> {
    std::iter::once(&spec.key).chain(&spec.aliases).map(|key| canonical(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(kind: PluginKind, name: &str, options: Vec<OptionSpec>) -> Declaration {
        let mut declaration = Declaration::new(kind, name);
        declaration.options = options;
        declaration
    }

    fn size(key: &str) -> OptionSpec {
        OptionSpec::int(key, 1, 1..=9, "")
    }

    fn refused(claims: &mut Claims, kind: PluginKind, name: &str, options: Vec<OptionSpec>) -> String {
        claims.admit(&plugin(kind, name, options), &Source::Linked).unwrap_err()
    }

    #[test]
    fn names_are_taken_once_per_kind() {
        let mut claims = Claims::default();
        let mut first = plugin(PluginKind::Net, "res_net", Vec::new());
        first.aliases = vec!["rn".into()];
        claims.admit(&first, &Source::File("/a.so".into())).unwrap();
        claims.admit(&plugin(PluginKind::Dataset, "res_net", Vec::new()), &Source::Linked).unwrap();
        assert_eq!(
            refused(&mut claims, PluginKind::Net, "res-net", Vec::new()),
            "net `res-net`: the name `res_net` is that of the net `res_net` of `/a.so`, which was found first"
        );
        assert!(refused(&mut claims, PluginKind::Net, "rn", Vec::new()).contains("`rn`"));
    }

    #[test]
    fn keys_are_shared_only_within_a_kind_and_a_type() {
        let mut claims =
            Claims::new(&Reserved { options: vec![OptionSpec::path("run_dir", "", "")], ..Reserved::default() });
        let source = Source::File("/a.so".into());
        let shared = vec![size("batch_size").alias("batch")];
        claims.admit(&plugin(PluginKind::Dataset, "a", shared.clone()), &source).unwrap();
        claims.admit(&plugin(PluginKind::Dataset, "b", shared), &source).unwrap();
        let text = vec![OptionSpec::text("batch_size", "", "")];
        assert_eq!(
            refused(&mut claims, PluginKind::Dataset, "c", text),
            "dataset `c`: its option `batch_size` has another type than that of dataset `a` of `/a.so`"
        );
        assert_eq!(
            refused(&mut claims, PluginKind::Net, "d", vec![size("other"), size("batch")]),
            "net `d`: its option `batch` is taken by dataset `a` of `/a.so`"
        );
        assert_eq!(
            refused(&mut claims, PluginKind::Net, "d", vec![size("run_dir")]),
            "net `d`: its option `run_dir` is taken by the host"
        );
        assert!(refused(&mut claims, PluginKind::Dataset, "e", vec![size("batch")]).contains("something else"));
        // A refused plugin leaves nothing behind.
        claims.admit(&plugin(PluginKind::Learner, "f", vec![size("other")]), &source).unwrap();
    }

    #[test]
    fn declarations_that_are_wrong_in_themselves() {
        let mut claims = Claims::default();
        let mut refused = |spec: Vec<OptionSpec>| refused(&mut claims, PluginKind::Net, "n", spec);
        assert_eq!(refused(vec![size("a_b"), size("c").alias("a_b")]), "net `n`: declares the option `a_b` twice");
        let wrong = OptionSpec::int("a", 10, 1..=9, "");
        assert!(refused(vec![wrong]).contains("does not take its own default: 10 is out of range"));
        assert!(refused(vec![size("A b")]).contains("is not a legal key"));
    }

    #[test]
    fn what_is_the_programs_own() {
        let keys = BTreeSet::from(["images".to_owned()]);
        let mut claims =
            Claims::new(&Reserved { keys, names: BTreeSet::from(["auto".to_owned()]), ..Reserved::default() });
        let want = "net `n`: its option `images` is a name of the program's own; give it another key";
        assert_eq!(refused(&mut claims, PluginKind::Net, "n", vec![size("images")]), want);
        assert_eq!(refused(&mut claims, PluginKind::Net, "n", vec![size("pictures").alias("images")]), want);
        let auto = refused(&mut claims, PluginKind::Dataset, "auto", vec![]);
        assert_eq!(auto, "dataset `auto`: the name `auto` means something else to the program");
    }
}
