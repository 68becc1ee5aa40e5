//! The file in which torchrun looks for the cause of a worker's failure, in the form that PyTorch's
//! own workers write (`torch.distributed.elastic.multiprocessing.errors`).

use pocketflow::Error;
use serde_json::json;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The variable that names the file.
const VARIABLE: &str = "TORCHELASTIC_ERROR_FILE";

/// Writes why this process fails, where torchrun asks for it. What goes wrong in that is not told:
/// the failure itself is on stderr.
pub fn write(error: &Error) {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let _ = std::fs::write(path, text(error, now));
    }
}

fn text(error: &Error, now: u64) -> String {
    let message = error.chain().join(": ");
    json!({ "message": { "message": message, "extraInfo": { "py_callstack": "", "timestamp": now.to_string() } } })
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_form_that_torchrun_reads() {
        let error = Error::failed("a \"bad\" disk").context("the run failed");
        let read: serde_json::Value = serde_json::from_str(&text(&error, 7)).unwrap();
        assert_eq!(read["message"]["message"], "the run failed: a \"bad\" disk");
        assert_eq!(read["message"]["extraInfo"]["timestamp"], "7");
    }
}
