//! The order of the `mod` lines is the order of the layers: a module uses only those above it.
//!
//! Reads the source of all crates of the workspace. Comments and the tests at the end of a file
//! are left out.

use std::{
    fs,
    path::{Path, PathBuf},
};

type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// A name with what stands before its `::`, and the line it is on.
type Use = (Vec<String>, usize);

#[test]
fn a_module_uses_only_modules_declared_above_it() {
    let roots = [
        "hybi-proto/src/lib.rs",
        "hybi/src/lib.rs",
        "hybi-cli/src/main.rs",
    ];
    let faults: Vec<String> = roots
        .iter()
        .flat_map(|root| layering(root, &on_disk))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_face_spells_no_opcode_and_no_status_line() {
    let mut faults = forbidden("hybi/src/lib.rs", &on_disk, is_of_the_protocol);
    // The raw peers of `hybi::test` and of `handover`, which is a test, speak frames; they are
    // nothing that the face is built on.
    faults.retain(|fault| {
        let of_tests = ["hybi/src/test/", "hybi/src/handover/"];
        !of_tests.iter().any(|folder| fault.starts_with(folder))
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_protocol_knows_no_runtime_no_socket_and_no_clock() {
    let faults = forbidden("hybi-proto/src/lib.rs", &on_disk, is_of_the_world);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// All uses in the crate of a module that is declared below, as `file:line: what`.
fn layering(root: &str, read: Read<'_>) -> Vec<String> {
    let files = files(root, read);
    let mut faults = Vec::new();
    for File {
        path, module, code, ..
    } in files.iter().filter(|file| !file.module.is_empty())
    {
        for (used, line) in uses(code) {
            let Some(target) = resolve(&used, module) else {
                continue;
            };
            let shared = module
                .iter()
                .zip(&target)
                .take_while(|(a, b)| a == b)
                .count();
            let (Some(user), Some(wanted)) = (module.get(shared), target.get(shared)) else {
                continue;
            };
            let siblings: Vec<&String> = files
                .iter()
                .filter(|file| file.module == module[..shared])
                .flat_map(|file| file.children.iter().map(|(name, _)| name))
                .collect();
            let place = |name| siblings.iter().position(|&sibling| sibling == name);
            let fault = match place(wanted) {
                Some(wanted) if Some(wanted) < place(user) => continue,
                Some(_) => format!("`{user}` uses `{wanted}`, which is declared below it"),
                None if shared > 0 => continue,
                None => format!("`{user}` uses `crate::{wanted}`: name the module it is in"),
            };
            faults.push(format!("{}:{line}: {fault}", path.display()));
        }
    }
    faults
}

/// All lines of the crate that have a word which it must not know.
fn forbidden(root: &str, read: Read<'_>, is_forbidden: fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for File { path, code, .. } in files(root, read) {
        let words = code
            .lines()
            .enumerate()
            .filter(|(_, line)| is_forbidden(line));
        faults.extend(words.map(|(i, line)| format!("{}:{}: {line}", path.display(), i + 1)));
    }
    faults
}

fn is_of_the_protocol(line: &str) -> bool {
    const OPCODES: [&str; 13] = [
        "0x0", "0x1", "0x2", "0x8", "0x9", "0xa", "0x00", "0x01", "0x02", "0x08", "0x09", "0x0a",
        "opcode",
    ];
    let line = line.to_ascii_lowercase();
    let on_the_wire = |word: &str| word.len() == 4 && word.starts_with("0x8");
    line.contains("http/1.1")
        || words(&line).any(|word| OPCODES.contains(&word) || on_the_wire(word))
}

fn is_of_the_world(line: &str) -> bool {
    // An IP address is a value, not a socket.
    let line = line.replace("std::net::Ip", "Ip");
    words(&line).any(|word| ["tokio", "net", "Instant", "SystemTime"].contains(&word))
}

struct File {
    path: PathBuf,
    module: Vec<String>,
    code: String,
    /// The modules it declares, in order, and the files that `#[path]` names.
    children: Vec<(String, Option<String>)>,
}

/// The files of a crate, found by following its `mod` lines.
fn files(root: &str, read: Read<'_>) -> Vec<File> {
    let mut found = Vec::new();
    let mut next = vec![(PathBuf::from(root), Vec::new())];
    while let Some((path, module)) = next.pop() {
        let Some(source) = read(&path) else { continue };
        let code = code(&source);
        let children = children(&code);
        let parent = path.parent().unwrap_or(Path::new(""));
        let owns_its_directory = ["lib.rs", "main.rs", "mod.rs"]
            .iter()
            .any(|f| path.ends_with(f));
        let directory = if owns_its_directory {
            parent.into()
        } else {
            path.with_extension("")
        };
        for (name, file) in &children {
            let module = [&module[..], std::slice::from_ref(name)].concat();
            match file {
                Some(file) => next.push((parent.join(file), module)),
                None => next.extend(
                    [format!("{name}.rs"), format!("{name}/mod.rs")]
                        .map(|file| (directory.join(file), module.clone())),
                ),
            }
        }
        found.push(File {
            path,
            module,
            code,
            children,
        });
    }
    found
}

/// The source without comments and without the tests at its end; the lines stay where they are.
fn code(source: &str) -> String {
    let end = source.find("\n#[cfg(test)]\nmod ").unwrap_or(source.len());
    let without_comment = |line: &str| match line.trim_start().starts_with("//") {
        true => String::new(),
        false => line.split(" // ").next().unwrap_or_default().to_owned(),
    };
    source[..end]
        .lines()
        .map(without_comment)
        .collect::<Vec<_>>()
        .join("\n")
}

fn children(code: &str) -> Vec<(String, Option<String>)> {
    let mut path = None;
    let mut children = Vec::new();
    for line in code.lines() {
        if let Some((_, rest)) = line.split_once("#[path = \"") {
            path = rest.split('"').next().map(str::to_owned);
        }
        let words: Vec<&str> = words(line).collect();
        if let (true, [.., "mod", name]) = (line.trim_end().ends_with(';'), &words[..]) {
            children.push(((*name).to_owned(), path.take()));
        }
    }
    children
}

/// All paths that begin with `crate` or `super`, with the groups of a `use` taken apart.
fn uses(code: &str) -> Vec<Use> {
    let tokens = tokens(code);
    let mut uses = Vec::new();
    for (i, (token, _)) in tokens.iter().enumerate() {
        let goes_on = tokens.get(i + 1).is_some_and(|(next, _)| next == "::");
        let begins = i == 0 || tokens[i - 1].0 != "::";
        if ["crate", "super"].contains(&token.as_str()) && goes_on && begins {
            expand(&tokens, i, &[], &mut uses);
        }
    }
    uses
}

/// Takes one tree of a `use` apart and returns the place behind it.
fn expand(
    tokens: &[(String, usize)],
    mut i: usize,
    before: &[String],
    uses: &mut Vec<Use>,
) -> usize {
    let mut path = before.to_vec();
    while let Some((token, line)) = tokens.get(i) {
        if token == "{" {
            while tokens.get(i).is_some_and(|(token, _)| token != "}") {
                i = expand(tokens, i + 1, &path, uses);
                while tokens
                    .get(i)
                    .is_some_and(|(token, _)| token != "," && token != "}")
                {
                    i += 1;
                }
            }
            return i + 1;
        }
        if token == "}" {
            return i; // behind a last comma
        }
        path.push(token.clone());
        if tokens.get(i + 1).is_none_or(|(next, _)| next != "::") {
            uses.push((path, *line));
            return i + 1;
        }
        i += 2;
    }
    i
}

/// From the root of the crate, where it leads to from this module.
fn resolve(used: &[String], module: &[String]) -> Option<Vec<String>> {
    let up = used.iter().take_while(|&name| name == "super").count();
    let from = if up == 0 {
        0
    } else {
        module.len().checked_sub(up)?
    };
    Some([&module[..from], &used[up.max(1)..]].concat())
}

/// Words, `::` and single signs, each with its line.
fn tokens(code: &str) -> Vec<(String, usize)> {
    let mut tokens: Vec<(String, usize)> = Vec::new();
    for (i, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(sign) = rest.chars().next() {
            let word = rest.find(|c| !is_of_a_word(c)).unwrap_or(rest.len());
            let len = if rest.starts_with("::") {
                2
            } else {
                word.max(sign.len_utf8())
            };
            tokens.push((rest[..len].to_owned(), i + 1));
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c| !is_of_a_word(c))
        .filter(|word| !word.is_empty())
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn on_disk(path: &Path) -> Option<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    fs::read_to_string(crates.join(path)).ok()
}

#[test]
fn a_use_of_a_module_below_is_found_however_it_is_written() {
    let sample = |path: &Path| {
        let source = match path.to_str()? {
            "src/lib.rs" => {
                "pub mod a;\n#[cfg(x)] pub mod b;\n#[cfg(not(x))]\n#[path = \"b/off.rs\"]\nmod b;\n\
                 pub mod c;\nuse crate::c::Free;\n"
            }
            "src/a.rs" => {
                "// use crate::b;\nuse crate::{\n    a::Own,\n    c::{self, D},\n};\n\
                 fn f() { crate::b::g() } // crate::c\n\
                 #[cfg(test)]\nmod tests { use crate::c; }\n"
            }
            "src/b/mod.rs" => "mod first;\nmod second;\nuse super::a;\nuse crate::Root;\n",
            "src/b/off.rs" => "use super::{a::A, c::C};\n",
            "src/b/first.rs" => "use super::second;\nuse super::{super::c, Item};\n",
            "src/b/second.rs" => "use crate::b::first::{A, B};\n",
            "src/c.rs" => "use crate::{a, b};\nuse super::b as other;\n",
            _ => return None,
        };
        Some(source.to_owned())
    };
    let mut faults = layering("src/lib.rs", &sample);
    faults.sort();
    let places: Vec<&str> = faults
        .iter()
        .filter_map(|fault| fault.split(": ").next())
        .collect();
    assert_eq!(
        places,
        [
            "src/a.rs:4",
            "src/a.rs:4",
            "src/a.rs:6",
            "src/b/first.rs:1",
            "src/b/first.rs:2",
            "src/b/mod.rs:4",
            "src/b/off.rs:1",
        ],
        "{faults:#?}"
    );
}

#[test]
fn a_forbidden_word_is_found_and_a_comment_is_not() {
    for bad in [
        "if opcode == 8 {",
        "Opcode::Ping",
        "0x8 =>",
        "[0x89, 0]",
        "b\"HTTP/1.1 101\"",
    ] {
        assert!(is_of_the_protocol(bad), "{bad}");
    }
    for bad in [
        "use tokio::net;",
        "std::net::TcpStream",
        "use std::{net, fmt};",
        "at: Instant,",
    ] {
        assert!(is_of_the_world(bad), "{bad}");
    }
    for good in [
        "0x8000",
        "let instant = network;",
        "100 * 1024",
        "use std::net::Ipv6Addr;",
    ] {
        assert!(
            !is_of_the_protocol(good) && !is_of_the_world(good),
            "{good}"
        );
    }
    let read = |path: &Path| {
        path.ends_with("lib.rs")
            .then(|| "//! Of tokio.\nfn f() {} // tokio\nuse tokio;\n".into())
    };
    assert_eq!(
        forbidden("lib.rs", &read, is_of_the_world),
        ["lib.rs:3: use tokio;"]
    );
}
