//! Files that people take for weights and that are something else, told by how they begin, with
//! what to do about each.

/// What a file is that begins with `front` (512 bytes, or the whole file), and what to do. `None`:
/// not known.
pub fn what(front: &[u8]) -> Option<&'static str> {
    let text = front.trim_ascii_start().to_ascii_lowercase();
    let is_text = |beginnings: &[&str]| beginnings.iter().any(|begin| text.starts_with(begin.as_bytes()));
    Some(match front {
        [] => "it is empty: its download has failed, fetch it again",
        _ if is_text(&["<!doctype html", "<html", "<head", "<?xml"]) => {
            "it is a web page, saved in the place of the file (a page that asks to confirm or to log in, or an error): \
             fetch the file itself"
        }
        _ if text.starts_with(b"version https://git-lfs.github.com") => {
            "it is a pointer of Git LFS, and not the file that it stands for: fetch that by `git lfs pull`"
        }
        [0x1f, 0x8b, ..] => "it is compressed by gzip: unpack it first (gunzip, or tar xzf for a .tar.gz)",
        [b'B', b'Z', b'h', ..] => "it is compressed by bzip2: unpack it first (bunzip2)",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "it is compressed by xz: unpack it first (unxz)",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed by zstd: unpack it first (unzstd)",
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => "it is a 7z archive: unpack it first, and give the file in it",
        [0x89, b'H', b'D', b'F', ..] => {
            "it is an HDF5 file, as Keras writes: convert the model to .tflite, or its weights to .safetensors, and \
             give that"
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
            "it is an array of numpy without a name: save the weights by name, as .safetensors"
        }
        _ if front.get(257..262) == Some(b"ustar") => "it is a tar archive: unpack it first, and give the file in it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_named_with_what_to_do() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (front, word) in [
            (&b""[..], "empty"),
            (b"  \n<!DOCTYPE HTML><html>", "web page"),
            (b"<html lang=en>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
            (b"\x1f\x8b\x08\0", "gunzip"),
            (b"\x89HDF\r\n", "Keras"),
            (&tar, "tar archive"),
        ] {
            let said = what(front).unwrap_or_default();
            assert!(said.contains(word), "{word}: {said}");
        }
        assert_eq!(what(b"no weights at all"), None);
        assert_eq!(what(&[0x20, 0, 0, 0, 0, 0, 0, 0, b'{']), None);
    }
}
