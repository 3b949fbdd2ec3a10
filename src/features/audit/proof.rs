//! The proof that an entry is in the log, as a text that is checked without it: C2SP `tlog-proof`.

use super::{Hash, encode_hash};

/// What the file of a proof begins with.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The text of a proof: entry `index`, counted from 0, its audit path, and the signed checkpoint that it leads to.
pub fn text(index: u64, path: &[Hash], note: &str) -> String {
    let path: String = path.iter().map(|hash| format!("{}\n", encode_hash(hash))).collect();
    format!("{HEADER}\nindex {index}\n{path}\n{note}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_its_place_its_path_and_its_checkpoint() {
        let text = text(3, &[[0; 32], [255; 32]], "log\n4\nroot\n\n\u{2014} log signature\n");
        let expected = "c2sp.org/tlog-proof@v1\nindex 3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\
            //////////////////////////////////////////8=\n\nlog\n4\nroot\n\n\u{2014} log signature\n";
        assert_eq!(text, expected);
    }
}
