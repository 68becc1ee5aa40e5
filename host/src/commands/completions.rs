//! `host completions SHELL`: a completion script that knows the options of all plugins found now.

use crate::cli::{Shown, command};
use clap_complete::Shell;
use pocketflow::plugin::Declaration;

/// The script, for stdout.
pub fn completions(shell: Shell, declarations: &[Declaration]) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(declarations, Shown::All), "host", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::sample;

    #[test]
    fn every_shell_learns_every_option() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = completions(shell, &sample::declarations());
            for word in ["uql-weight-bits", "save-path", "plugin-dir", "resnet-size", "ddpg-tau", "explain"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
        let script = completions(Shell::Bash, &sample::declarations());
        assert!(script.contains("channel split"), "choices are completed");
        assert!(script.contains("full-prec uniform"), "names of plugins are completed");
    }
}
