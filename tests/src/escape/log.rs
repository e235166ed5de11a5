//! The lines that `cargo test` prints: which test, which ids it bears, and what came of it.

/// What `cargo test` printed of one test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ran {
    Failed,
    Ignored(String),
    Ok,
}

/// `n02_n06_..`: the ids that a test's name begins with.
pub(super) fn ids(name: &str) -> impl Iterator<Item = String> {
    let is_id = |word: &&str| {
        let (letter, number) = word.split_at(word.len().min(1));
        letter.bytes().all(|byte| byte.is_ascii_lowercase())
            && number.len() == 2
            && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    name.split('_')
        .take_while(is_id)
        .map(str::to_ascii_uppercase)
}

/// `test PATH ... ok`: the name of the case, and what came of it.
pub(super) fn test(line: &str) -> Option<(String, Ran)> {
    let (path, ended) = line.strip_prefix("test ")?.split_once(" ... ")?;
    // battery.sh marks netctl's tests so: their names begin with a clause, which is no id.
    if let Some((_, name)) = path.split_once("clause::") {
        return Some((format!(" {name}"), ran(ended)));
    }
    let mut parts = path.rsplit("::");
    let last = parts.next()?;
    let name = match last {
        "as_an_ordinary_user" | "as_root" => parts.next()?,
        last => last,
    };
    Some((name.to_owned(), ran(ended)))
}

fn ran(ended: &str) -> Ran {
    match ended.split_once(", ") {
        Some(("ignored", why)) => Ran::Ignored(why.to_owned()),
        _ if ended == "ok" => Ran::Ok,
        _ => Ran::Failed,
    }
}
