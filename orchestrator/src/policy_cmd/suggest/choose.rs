//! The fewest and narrowest lines that allow what was wanted: a bundled list where most of it is wanted anyway, exact hosts
//! before suffixes, never a public suffix. The matcher of the wire says what a line covers.
//! Clauses: P1, P3.
use std::collections::{BTreeMap, BTreeSet};

use policies::{
    Config, DnsName, Host, List, Mode, Pattern, Source, Surroundings, Verdict, presets,
};

use super::wanted::Want;

/// A preset is taken if so many of the wanted hosts are in it, and at least half of its hosts are wanted: a shorter file is
/// no reason to open what nobody asked for.
const PRESET_HOSTS_MIN: usize = 2;
/// So many names right below one name are taken for names that change.
const SIBLINGS_MIN: usize = 8;

/// One line to add, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The section of the file.
    pub(super) key: &'static str,
    /// The entry in it.
    pub(super) entry: String,
    /// The wants that it allows, by destination and count.
    pub(super) covers: Vec<(String, u64)>,
}

/// The lines for all of `wants`, in the order of the file's sections; `config` is the file as it is.
pub(super) fn lines(mut wants: Vec<Want>, config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    let has: BTreeSet<&str> = config.presets().collect();
    let mut offers: Vec<&str> = presets::names()
        .filter(|name| !has.contains(name))
        .collect();
    while let Some((name, covered)) = best_preset(&offers, &wants) {
        offers.retain(|offer| *offer != name);
        lines.push(line(
            "presets",
            name.to_owned(),
            wants.iter().filter(|want| covered.contains(&id(want))),
        ));
        wants.retain(|want| !covered.contains(&id(want)));
    }
    let suffixes = suffixes(&wants);
    let mut exact: BTreeMap<(&'static str, String), Vec<&Want>> = BTreeMap::new();
    for want in &wants {
        let suffix = suffixes
            .iter()
            .find(|suffix| name_of(want).is_some_and(|name| suffix.covers(name)));
        let entry = match suffix {
            Some(suffix) if is_plain(want) => suffix.to_string(),
            Some(_) | None => want.suggestion.entry(),
        };
        exact
            .entry((want.suggestion.key(), entry))
            .or_default()
            .push(want);
    }
    lines.extend(
        exact
            .into_iter()
            .map(|((key, entry), wants)| line(key, entry, wants.into_iter())),
    );
    lines
}

fn line<'w>(key: &'static str, entry: String, wants: impl Iterator<Item = &'w Want>) -> Line {
    let mut covers: BTreeMap<String, u64> = BTreeMap::new();
    for want in wants {
        *covers
            .entry(want.request.destination.to_string())
            .or_default() += want.count;
    }
    Line {
        key,
        entry,
        covers: covers.into_iter().collect(),
    }
}

/// What tells two wants apart.
fn id(want: &Want) -> (String, policies::Via) {
    (want.request.destination.to_string(), want.request.via)
}

/// The preset that covers the most wanted hosts, of those that are worth it; the smaller of two that cover as many.
fn best_preset<'o>(
    offers: &[&'o str],
    wants: &[Want],
) -> Option<(&'o str, BTreeSet<(String, policies::Via)>)> {
    let worth = offers.iter().filter_map(|name| {
        let hosts = presets::get(name)?.ok()?.hosts.len();
        let text = format!("sandbox-name: x\npresets: [{name}]\n");
        let (config, _) = Config::parse(&Source { name, text: &text }).ok()?;
        let surroundings = Surroundings {
            host_addresses: Vec::new(),
            own_addresses: Vec::new(),
        };
        let policy = config.policy(Some(Mode::Filtered), surroundings);
        let allowed = wants
            .iter()
            .filter(|want| matches!(policy.decide(&want.request), Verdict::Allow(_)));
        let covered: BTreeSet<_> = allowed.map(id).collect();
        let names: BTreeSet<&str> = covered
            .iter()
            .map(|(destination, _)| destination.as_str())
            .collect();
        let is_worth = names.len() >= PRESET_HOSTS_MIN && names.len() * 2 >= hosts;
        is_worth.then_some((
            names.len(),
            std::cmp::Reverse(hosts),
            *name,
            covered.clone(),
        ))
    });
    worth
        .max_by_key(|(names, hosts, ..)| (*names, *hosts))
        .map(|(_, _, name, covered)| (name, covered))
}

/// Suffixes that stand for many names right below one name.
fn suffixes(wants: &[Want]) -> Vec<Pattern> {
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in wants
        .iter()
        .filter(|want| is_plain(want))
        .filter_map(name_of)
    {
        if let Some((label, parent)) = name.as_str().split_once('.') {
            below.entry(parent).or_default().insert(label);
        }
    }
    let many = below
        .into_iter()
        .filter(|(_, labels)| labels.len() >= SIBLINGS_MIN);
    // The parser of the file refuses what is too broad, public suffixes among it.
    let patterns = many.map(|(parent, _)| Pattern::parse(&format!(".{parent}"), List::Whitelist));
    patterns
        .filter_map(|parsed| parsed.ok().map(|(pattern, _)| pattern))
        .collect()
}

/// Whether a want is for a name on its usual port.
fn is_plain(want: &Want) -> bool {
    want.suggestion.key() == "http-domain-whitelist"
        && name_of(want).is_some_and(|name| want.suggestion.entry() == name.as_str())
}

fn name_of(want: &Want) -> Option<&DnsName> {
    match &want.request.destination.host {
        Host::Name(name) => Some(name),
        Host::Address(_) => None,
    }
}
