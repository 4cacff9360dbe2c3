//! `SECURITY.md` names what bounds each limit, and the test that proves it: all of these exist.

use std::fs;
use std::path::{Path, PathBuf};

/// The sources of the crates.
struct Sources(Vec<(PathBuf, String)>);

impl Sources {
    fn read() -> Self {
        let mut files = Vec::new();
        collect(&crates(), &mut files);
        Self(files)
    }

    /// Whether a crate has this test: `crate::path::of::its::file::name`.
    fn has_test(&self, name: &str) -> bool {
        let parts: Vec<&str> = name.split("::").collect();
        let [package, modules @ .., test] = &parts[..] else {
            return false;
        };
        let declared = |text: &str| {
            text.match_indices(&format!("fn {test}(")).any(|(at, _)| {
                // The attributes stand above it, with docs between perhaps.
                let line = text[..at].rfind('\n').unwrap_or(0);
                let above = text[..line].lines().rev().map(str::trim_start);
                let attributes = |line: &&str| line.starts_with("#[") || line.starts_with("//");
                let mut above = above.take_while(attributes);
                above.any(|line| {
                    let test = ["#[test]", "#[tokio::test", "#[each_fault"];
                    test.iter().any(|test| line.starts_with(test))
                })
            })
        };
        self.of(package).any(|(path, text)| {
            let path = path.with_extension("");
            let path: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
            let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
            let path = match path.split_last() {
                Some((&("mod" | "main" | "lib"), folder)) => folder,
                _ => &path,
            };
            path.ends_with(modules) && declared(text)
        })
    }

    /// Whether there is an option or a constant of this name: `Type::setter`, `path::CONSTANT` or
    /// `--option`.
    fn has_name(&self, name: &str) -> bool {
        if let Some(option) = name.strip_prefix("--") {
            let field = format!(" {}:", option.replace('-', "_"));
            return self.of("hybi-cli").any(|(_, text)| text.contains(&field));
        }
        let Some((owner, last)) = name.rsplit_once("::") else {
            return false;
        };
        let owner = owner.rsplit("::").next().unwrap_or(owner);
        let is_const = last.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let begins_large = |word: &str| word.starts_with(|c: char| c.is_ascii_uppercase());
        let sources = ["hybi", "hybi-proto", "hybi-cli"];
        let mut sources = sources.iter().flat_map(|package| self.of(package));
        sources.any(|(path, text)| {
            if is_const {
                let module = [owner.to_owned(), format!("{owner}.rs")];
                let here = path.iter().any(|part| module.iter().any(|m| part == &**m));
                return here && text.contains(&format!("const {last}:"));
            }
            let of_owner = [
                format!("impl {owner} "),
                format!("impl {owner}<"),
                format!("impl<S: Io> {owner}<"),
                format!("enum {owner} "),
            ];
            let of_owner = of_owner.iter().any(|line| text.contains(line));
            let declared = match begins_large(last) {
                true => format!("    {last}"),
                false => format!("pub fn {last}"),
            };
            let declared = text.match_indices(&declared).any(|(at, found)| {
                let next = text[at + found.len()..].chars().next();
                next.is_some_and(|c| !c.is_alphanumeric() && c != '_')
            });
            of_owner && declared
        })
    }

    fn of(&self, package: &str) -> impl Iterator<Item = &(PathBuf, String)> {
        let folder = crates().join(package);
        self.0
            .iter()
            .filter(move |(path, _)| path.starts_with(&folder))
    }
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The rows of the tables whose last column is for tests, cell by cell.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let mut of_tests = false;
    for line in page.lines() {
        let Some(line) = line.strip_prefix("| ") else {
            of_tests &= line.starts_with('|');
            continue;
        };
        let cells: Vec<&str> = line
            .trim_end_matches('|')
            .split(" | ")
            .map(str::trim)
            .collect();
        if of_tests {
            rows.push(cells);
        } else {
            of_tests = cells.last() == Some(&"test");
        }
    }
    rows
}

#[test]
fn every_limit_of_the_security_page_has_a_name_and_a_test_that_exist() {
    let page = crates().parent().unwrap().join("SECURITY.md");
    // Where the crate alone is built from what is published there is no such page.
    let Ok(page) = fs::read_to_string(page) else {
        return;
    };
    let sources = Sources::read();
    let rows = rows(&page);
    assert!(rows.len() > 50, "{} rows", rows.len());
    let mut faults = Vec::new();
    for row in &rows {
        let (what, tests) = (row[0], row[row.len() - 1]);
        if quoted(tests).next().is_none() {
            faults.push(format!("{what}: no test"));
        }
        let missing = quoted(tests).filter(|test| !sources.has_test(test));
        faults.extend(missing.map(|test| format!("{what}: there is no test {test}")));
        // Those of the first table have a name, too.
        if let [_, name, _, _, _] = row[..] {
            let missing = quoted(name).filter(|name| !sources.has_name(name));
            faults.extend(missing.map(|name| format!("{what}: there is no {name}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_does_not_exist_is_missed() {
    let sources = Sources::read();
    assert!(sources.has_test("hybi-proto::security::what_does_not_exist_is_missed"));
    for test in [
        "hybi-proto::security::what_does_exist",
        "hybi-proto::security::rows",
        "hybi-proto::frames::what_does_not_exist_is_missed",
        "hybi::security::what_does_not_exist_is_missed",
    ] {
        assert!(!sources.has_test(test), "{test}");
    }
    assert!(sources.has_name("Options::max_message") && sources.has_name("server::HEADS"));
    assert!(sources.has_name("Overflow::Close") && sources.has_name("--max-message"));
    for name in [
        "Options::max_massage",
        "client::HEADS",
        "Client::max_message",
        "--max-massage",
    ] {
        assert!(!sources.has_name(name), "{name}");
    }
}
