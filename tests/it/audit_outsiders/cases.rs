//! Generated checkpoints and proofs, good ones and touched ones, judged by us, by Go and by Python.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use tenure::features::audit::merkle::{MemoryNodes, consistency, inclusion, root, verify_consistency, verify_inclusion};
use tenure::features::audit::note::{Checkpoint, Signer, VerifierKey, open_note};
use tenure::features::audit::{Hash, leaf_hash};

use super::{go, python};

/// A question, as the other verifiers read it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    kind: &'static str,
    leaf: String,
    index: u64,
    size: u64,
    root: String,
    old: u64,
    old_root: String,
    proof: Vec<String>,
    note: String,
    keys: Vec<String>,
    /// Whether it is as it was made.
    #[serde(skip)]
    is_whole: bool,
    /// Whether what was touched is a number alone: a proof may hold for several, the checkpoint tells which is meant.
    #[serde(skip)]
    is_number: bool,
}

fn text(hash: &[u8]) -> String {
    STANDARD.encode(hash)
}

fn bytes(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn flip(&mut self, hash: &mut String) {
        let mut raw = bytes(hash).expect("a hash");
        raw[self.next(32)] ^= 1 << self.next(8);
        *hash = text(&raw);
    }
}

fn ours(case: &Case) -> bool {
    let proof: Option<Vec<Hash>> = case.proof.iter().map(|one| bytes(one)).collect();
    match case.kind {
        "note" => {
            let keys: Result<Vec<VerifierKey>, String> = case.keys.iter().map(|key| key.parse()).collect();
            keys.is_ok_and(|keys| open_note(&case.note, &keys).is_ok())
        }
        "inclusion" => proof.zip(bytes(&case.leaf)).zip(bytes(&case.root)).is_some_and(|((proof, leaf), root)| {
            verify_inclusion(&leaf, case.index, case.size, &root, &proof)
        }),
        _ => proof.zip(bytes(&case.old_root)).zip(bytes(&case.root)).is_some_and(|((proof, old), root)| {
            verify_consistency(case.old, &old, case.size, &root, &proof)
        }),
    }
}

/// The case touched in one of several ways.
fn touched(whole: &Case, dice: &mut Dice) -> Case {
    let mut case = Case { is_whole: false, ..whole.clone() };
    let length = case.proof.len();
    match dice.next(9) {
        0 => dice.flip(&mut case.root),
        1 if case.kind == "inclusion" => dice.flip(&mut case.leaf),
        1 => dice.flip(&mut case.old_root),
        2 if length > 0 => {
            let place = dice.next(length);
            dice.flip(&mut case.proof[place]);
        }
        3 if length > 0 => drop(case.proof.remove(dice.next(length))),
        4 => {
            let more = if length > 0 { case.proof[dice.next(length)].clone() } else { case.root.clone() };
            case.proof.insert(dice.next(length + 1), more);
        }
        5 if length > 1 => {
            let place = dice.next(length - 1);
            case.proof.swap(place, place + 1);
        }
        6 => (case.size, case.is_number) = (case.size + 1, true),
        7 if case.size > 1 => (case.size, case.is_number) = (case.size - 1, true),
        8 if case.kind == "inclusion" => (case.index, case.is_number) = (case.index + 1, true),
        8 => (case.old, case.is_number) = (case.old + 1, true),
        _ => {
            case.proof = vec![case.root.clone(); length + 1];
        }
    }
    case
}

/// Sizes that proofs differ at: small ones, and those around powers of two.
fn sizes() -> Vec<u64> {
    let mut sizes: Vec<u64> = (1..=20).collect();
    for power in 5..=12 {
        sizes.extend([(1 << power) - 1, 1 << power, (1 << power) + 1]);
    }
    sizes
}

fn proofs(leaves: &[Hash], nodes: &MemoryNodes, dice: &mut Dice) -> Vec<Case> {
    let mut cases = Vec::new();
    let root_of = |size: u64| text(&root(size, nodes).expect("a root"));
    let texts = |proof: Vec<Hash>| proof.iter().map(|hash| text(hash)).collect();
    for size in sizes() {
        let mut places = vec![0, size - 1, size / 2];
        places.extend((0..5).map(|_| dice.next(size as usize) as u64));
        for place in places {
            let included = Case {
                kind: "inclusion",
                leaf: text(&leaves[place as usize]),
                index: place,
                size,
                root: root_of(size),
                proof: texts(inclusion(place, size, nodes).expect("a proof")),
                is_whole: true,
                ..Case::default()
            };
            let old = place + 1;
            let grown = Case {
                kind: "consistency",
                old,
                old_root: root_of(old),
                size,
                root: root_of(size),
                proof: texts(consistency(old, size, nodes).expect("a proof")),
                is_whole: true,
                ..Case::default()
            };
            for case in [included, grown] {
                cases.extend((0..3).map(|_| touched(&case, dice)));
                cases.push(case);
            }
        }
    }
    cases
}

/// Notes, whole and touched: in a byte of the text, of the signature, of the key, or with what is not ours beside it.
fn notes(dice: &mut Dice) -> Vec<Case> {
    let mut cases = Vec::new();
    for number in 0..100_u8 {
        let origin = format!("tenure.example/audit/{number:016x}");
        let (signer, other) = (Signer::new(&origin, &[number; 32]), Signer::new("witness.example", &[200; 32]));
        let checkpoint = Checkpoint { origin, size: u64::from(number) << (number % 50), root: [number; 32] };
        let note = signer.sign(&checkpoint);
        let case = |note: String, keys: &[VerifierKey], is_whole: bool| Case {
            kind: "note",
            note,
            keys: keys.iter().map(ToString::to_string).collect(),
            is_whole,
            ..Case::default()
        };
        let keys = [signer.verifier()];
        cases.push(case(note.clone(), &keys, true));
        let beside = format!("{note}{}\n", other.sign(&checkpoint).lines().last().expect("a signature"));
        cases.push(case(beside, &keys, true));
        cases.push(case(note.clone(), &[other.verifier()], false));
        cases.push(case(note.trim_end().to_owned(), &keys, false));
        let (body, signature) = note.split_once("\n\n").expect("a signature");
        cases.push(case(body.to_owned() + "\n", &keys, false));
        let mut changed = body.as_bytes().to_vec();
        let place = dice.next(changed.len());
        changed[place] ^= 1;
        cases.push(case(format!("{}\n\n{signature}", String::from_utf8_lossy(&changed)), &keys, false));
        cases.push(case(format!("{}\n\n{signature}", body.replacen('\n', "\n0", 1)), &keys, false));
        // Its bytes, and not their spelling: some readers pass over unused bits of base64.
        let line = signature.trim_end().rsplit(' ').next().expect("base64");
        for place in [dice.next(4), 4 + dice.next(64), 67] {
            let mut raw = STANDARD.decode(line).expect("base64");
            raw[place] ^= 1 << dice.next(8);
            cases.push(case(note.replace(line, &STANDARD.encode(raw)), &keys, false));
        }
        // The same signature in another number: the order of the group added to its second half (malleability).
        cases.push(case(note.replace(line, &STANDARD.encode(more_by_the_order(line))), &keys, false));
    }
    cases
}

fn more_by_the_order(line: &str) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut raw = STANDARD.decode(line).expect("base64");
    let mut carry = 0_u16;
    for (byte, more) in raw[36..].iter_mut().zip(ORDER) {
        carry += u16::from(*byte) + u16::from(more);
        *byte = (carry & 0xff) as u8;
        carry >>= 8;
    }
    raw
}

#[test]
fn go_python_and_we_agree_about_generated_checkpoints_and_proofs() {
    let mut dice = Dice(20_260_101);
    let entries: Vec<Vec<u8>> = (0..4_100_u32).map(|i| i.to_be_bytes().repeat(i as usize % 5)).collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let nodes = MemoryNodes::from(leaves.clone());
    let mut cases = proofs(&leaves, &nodes, &mut dice);
    cases.extend(notes(&mut dice));
    assert!(cases.len() >= 3_000, "{} cases", cases.len());

    let dir = tempfile::tempdir().expect("a folder");
    let (file, first) = (dir.path().join("cases.json"), dir.path().join("leaves.json"));
    std::fs::write(&file, serde_json::to_vec(&cases).expect("JSON")).expect("is written");
    let some: Vec<String> = entries.iter().take(300).map(|entry| text(entry)).collect();
    std::fs::write(&first, serde_json::to_vec(&some).expect("JSON")).expect("is written");
    let run = |command: &mut std::process::Command| -> Value {
        let output = command.output().expect("runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    };
    let by_go = run(std::process::Command::new(go()).arg("cases").arg(&file));
    let by_python = run(python("tests/python/audit_judge.py").args([&file, &first]));
    let mut refused = 0;
    for (number, case) in cases.iter().enumerate() {
        let verdict = ours(case);
        assert_eq!(by_go[number], verdict, "Go: {case:?}");
        assert_eq!(by_python["verdicts"][number], verdict, "Python: {case:?}");
        assert!(verdict || !case.is_whole, "a whole one is accepted: {case:?}");
        assert!(!verdict || case.is_whole || case.is_number, "a touched one is refused: {case:?}");
        refused += usize::from(!verdict);
    }
    assert!(refused >= 1_000 && cases.len() - refused >= 700, "{refused} of {} are refused", cases.len());
    for size in 1..=300 {
        let expected = text(&root(size, &nodes).expect("a root"));
        assert_eq!(by_python["roots"][size as usize - 1], expected, "the root of {size} by pymerkle");
    }
}
