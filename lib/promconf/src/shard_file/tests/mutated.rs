//! Real configurations with bytes cut out, flipped, doubled and put in: whatever comes of it is refused in one line
//! that names the file, or is rewritten into something that is read back with the same jobs.

use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// What YAML and Prometheus take for more than letters.
const SNIPPETS: &[&str] = &[
    "\n",
    "\t",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "#",
    "%",
    "@",
    "~",
    "0x1F",
    "---\n",
    "...\n",
    "? ",
    "$(A)",
    "\u{feff}",
    "\u{0}",
    "é",
    "\u{2028}",
    "scrape_configs:\n",
    "job_name: x\n",
    "static_configs: [{targets: [a:1]}]\n",
];

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/corpus");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "yml")).collect();
    files.sort();
    assert!(files.len() > 30);
    files.iter().map(|file| fs::read(file).unwrap()).collect()
});

#[derive(Debug, Clone)]
enum Edit {
    Cut(usize),
    Flip(u8),
    Insert(&'static str),
    Double(usize),
    Indent(usize),
}

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (1_usize..80).prop_map(Edit::Cut),
        (1_u8..=255).prop_map(Edit::Flip),
        prop::sample::select(SNIPPETS).prop_map(Edit::Insert),
        (1_usize..200).prop_map(Edit::Double),
        (0_usize..5).prop_map(Edit::Indent),
    ]
}

fn apply(bytes: &mut Vec<u8>, at: usize, edit: &Edit) {
    let at = at % bytes.len().max(1);
    let end = |length: usize| (at + length).min(bytes.len());
    match edit {
        Edit::Cut(length) => drop(bytes.drain(at..end(*length))),
        Edit::Flip(mask) => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        }
        Edit::Insert(text) => drop(bytes.splice(at..at, text.bytes())),
        Edit::Double(length) => {
            let again = bytes[at..end(*length)].to_vec();
            bytes.splice(at..at, again);
        }
        Edit::Indent(columns) => {
            let line = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |n| n + 1);
            bytes.splice(line..line, " ".repeat(*columns).bytes());
        }
    }
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let path = Path::new("/nowhere/p.yml");
    let clear = |cause: &Error| {
        let said = cause.to_string();
        prop_assert!(!said.contains('\n') && said.contains("p.yml:"), "{}", said);
        Ok(())
    };
    let text = match crate::text(bytes, path) {
        Ok(text) => text,
        Err(cause) => return clear(&cause),
    };
    let edits = Edits {
        targets_dir: Path::new("/t"),
        labels: &[("shard".to_owned(), "0".to_owned())],
        env: &|_| Some("set".to_owned()),
        config_dir: Path::new("/nowhere"),
    };
    let rewritten = rewrite(text, path, &edits);
    match crate::parse(text, path) {
        Err(cause) => clear(&cause),
        Ok(config) => {
            let rewritten = rewritten.map_err(|cause| TestCaseError::fail(cause.to_string()))?;
            let back = crate::parse(&rewritten, path).map_err(|cause| {
                TestCaseError::fail(format!("{cause}\n{text}\n--\n{rewritten}"))
            })?;
            let names = |config: &crate::Config| -> Vec<String> {
                config.scrape_configs.iter().map(|job| job.job_name.clone()).collect()
            };
            prop_assert_eq!(names(&config), names(&back));
            Ok(())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_configuration_is_refused_in_one_line_or_rewritten(
        file in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<usize>(), any_edit()), 1..6),
    ) {
        let mut bytes = file.get(&CORPUS[..]).clone();
        for (at, edit) in &edits {
            apply(&mut bytes, *at, edit);
        }
        check(&bytes)?;
    }

    #[test]
    fn any_bytes_are_refused_in_one_line_or_rewritten(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes)?;
    }
}

#[test]
fn text_that_is_not_utf_8_is_named_with_its_line() {
    let said = crate::text(b"a: 1\nb: \xff\n", Path::new("p.yml")).unwrap_err().to_string();
    assert!(said.starts_with("p.yml:2: ") && said.contains("UTF-8"), "{said}");
}
