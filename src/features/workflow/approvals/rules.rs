//! The rules of votes and of passing on: pure.
//!
//! # Invariants
//! - A rejection ends `all` at once, and a quorum as soon as it can no longer be reached.
//! - Passing on ends after [`MAX_HOPS`], at somebody who has it already, and before a person who must not
//!   decide: what was to come to them stays with the last one who can.

use crate::base::id::PersonId;
use crate::features::workflow::definitions::Rule;

/// How often an approval is passed on at most.
pub const MAX_HOPS: u32 = 5;

/// How many of the people of a stage have to approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Whoever is first decides, for or against.
    First,
    /// Every one approves.
    All,
    /// This many approve.
    Quorum(u32),
}

impl Need {
    /// What a rule asks for.
    pub fn of(rule: Rule) -> Self {
        match rule {
            Rule::All => Self::All,
            Rule::Any => Self::Quorum(1),
            Rule::Quorum(n) => Self::Quorum(n.max(1)),
        }
    }

    /// How many approvals are needed of `able` people.
    pub fn count(self, able: u32) -> u32 {
        match self {
            Self::First => 1,
            Self::All => able,
            Self::Quorum(n) => n,
        }
    }
}

/// How the votes of a stage stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Who approved.
    pub approvals: u32,
    /// Who rejected.
    pub rejections: u32,
    /// Who may still decide.
    pub open: u32,
}

/// What the votes of a stage amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough of them.
    Open,
    /// The stage is passed.
    Approved,
    /// The approval is over.
    Rejected,
}

/// What the votes amount to.
pub fn verdict(need: Need, tally: Tally) -> Verdict {
    let Tally { approvals, rejections, open } = tally;
    match need {
        Need::First if approvals > 0 => Verdict::Approved,
        Need::First | Need::All if rejections > 0 => Verdict::Rejected,
        Need::First => Verdict::Open,
        Need::All if open == 0 && approvals > 0 => Verdict::Approved,
        Need::All => Verdict::Open,
        Need::Quorum(n) if approvals >= n => Verdict::Approved,
        Need::Quorum(n) if approvals.saturating_add(open) < n => Verdict::Rejected,
        Need::Quorum(_) => Verdict::Open,
    }
}

/// Why the people there are cannot meet the rule; nothing when they can. `able` have decided or may.
pub fn shortfall(need: Need, able: u32) -> Option<String> {
    const WHY: &str = "every other approver is the requestor, the subject, not active, without the permission to \
                       decide, or has decided in an earlier stage";
    if able == 0 {
        return Some(
            "Nobody can decide: every approver is the requestor, the subject, not active, without the permission to \
             decide, or has decided in an earlier stage. An administrator has to name another one."
                .to_owned(),
        );
    }
    let wanted = need.count(able);
    (able < wanted).then(|| {
        let people = if able == 1 { "person" } else { "people" };
        format!(
            "{wanted} have to approve and only {able} {people} can: {WHY}. An administrator has to name others."
        )
    })
}

/// Whether somebody can hold a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They can.
    Able,
    /// They cannot, but whoever decides for them may.
    Unable,
    /// They must not, nor whoever they passed it on to.
    Barred,
}

/// Who decides in the end when `start` is to: the way from there, the holder last. Nobody when none on the
/// way can. At most `hops` steps are gone.
pub fn way<E>(
    start: &PersonId,
    hops: u32,
    mut next: impl FnMut(&PersonId) -> Result<Option<PersonId>, E>,
    mut standing: impl FnMut(&PersonId) -> Result<Standing, E>,
) -> Result<Option<Vec<PersonId>>, E> {
    let mut way: Vec<PersonId> = Vec::new();
    let mut able = 0;
    let mut at = Some(start.clone());
    while let Some(person) = at.take() {
        match standing(&person)? {
            Standing::Barred => break,
            Standing::Able => able = way.len() + 1,
            Standing::Unable => {}
        }
        let more = way.len() < hops as usize;
        at = if more { next(&person)? } else { None };
        way.push(person);
        at = at.filter(|p| !way.contains(p));
    }
    way.truncate(able);
    Ok((able > 0).then_some(way))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;
    use crate::base::id::TypedId;

    #[test]
    fn votes_amount_to_what_the_rule_says() {
        use Verdict::{Approved, Open, Rejected};
        let rows: [(Need, [u32; 3], Verdict); 24] = [
            // approvals, rejections, open
            (Need::First, [0, 0, 1], Open),
            (Need::First, [1, 0, 4], Approved),
            (Need::First, [0, 1, 4], Rejected),
            (Need::All, [0, 0, 3], Open),
            (Need::All, [2, 0, 1], Open),
            (Need::All, [3, 0, 0], Approved),
            (Need::All, [0, 1, 2], Rejected),
            (Need::All, [2, 1, 0], Rejected),
            (Need::All, [0, 0, 0], Open),
            (Need::of(Rule::Any), [0, 0, 3], Open),
            (Need::of(Rule::Any), [1, 0, 2], Approved),
            (Need::of(Rule::Any), [0, 2, 1], Open),
            (Need::of(Rule::Any), [1, 2, 0], Approved),
            (Need::of(Rule::Any), [0, 3, 0], Rejected),
            (Need::Quorum(2), [0, 0, 3], Open),
            (Need::Quorum(2), [1, 0, 2], Open),
            (Need::Quorum(2), [1, 1, 1], Open),
            (Need::Quorum(2), [2, 0, 1], Approved),
            (Need::Quorum(2), [2, 1, 0], Approved),
            (Need::Quorum(2), [0, 2, 1], Rejected),
            (Need::Quorum(2), [1, 2, 0], Rejected),
            (Need::Quorum(2), [0, 1, 2], Open),
            (Need::Quorum(3), [2, 1, 0], Rejected),
            (Need::Quorum(3), [0, 1, 2], Rejected),
        ];
        for (need, [approvals, rejections, open], expected) in rows {
            let tally = Tally { approvals, rejections, open };
            assert_eq!(verdict(need, tally), expected, "{need:?} {tally:?}");
        }
    }

    /// In whatever order people vote, a verdict comes at the latest with the last vote, and no later vote
    /// would have changed it.
    #[test]
    fn a_verdict_comes_with_the_last_vote_at_the_latest_and_stays() {
        for people in 1..=6_u32 {
            let quorums = (1..=people).map(Need::Quorum);
            for need in [Need::First, Need::All].into_iter().chain(quorums) {
                for votes in 0..(1_u32 << people) {
                    let mut tally = Tally { approvals: 0, rejections: 0, open: people };
                    let mut found = None;
                    for i in 0..people {
                        assert_eq!(verdict(need, tally) == Verdict::Open, found.is_none());
                        tally.open -= 1;
                        if (votes >> i) & 1 == 1 {
                            tally.approvals += 1;
                        } else {
                            tally.rejections += 1;
                        }
                        let now = verdict(need, tally);
                        if need != Need::First && found.is_some() {
                            assert_eq!(found, Some(now), "{need:?} {people} {votes:b}");
                        }
                        found = found.or((now != Verdict::Open).then_some(now));
                        if need == Need::First {
                            break;
                        }
                    }
                    assert!(found.is_some(), "{need:?} {people} {votes:b}");
                }
            }
        }
    }

    #[test]
    fn a_rule_that_the_people_cannot_meet_says_so() {
        assert!(shortfall(Need::First, 0).is_some_and(|why| why.starts_with("Nobody can decide")));
        assert_eq!(shortfall(Need::All, 1), None);
        assert_eq!(shortfall(Need::Quorum(2), 2), None);
        let why = shortfall(Need::Quorum(3), 2).expect("too few");
        assert!(why.starts_with("3 have to approve and only 2 people can"), "{why}");
    }

    fn person(name: &str) -> PersonId {
        PersonId::from_stored(name.to_owned())
    }

    /// The way from `start`, by who passes on to whom, who is unable, who is barred.
    fn walked(start: &str, passes: &[(&str, &str)], unable: &[&str], barred: &[&str]) -> Option<Vec<String>> {
        let passes: BTreeMap<&str, &str> = passes.iter().copied().collect();
        let next = |p: &PersonId| Ok::<_, Infallible>(passes.get(p.as_str()).map(|n| person(n)));
        let standing = |p: &PersonId| {
            Ok(if barred.contains(&p.as_str()) {
                Standing::Barred
            } else if unable.contains(&p.as_str()) {
                Standing::Unable
            } else {
                Standing::Able
            })
        };
        let Ok(way) = way(&person(start), MAX_HOPS, next, standing);
        way.map(|w| w.iter().map(|p| p.as_str().to_owned()).collect())
    }

    #[test]
    fn passing_on_ends_at_the_last_who_can() {
        let way = |start, passes: &[_], unable: &[_], barred: &[_]| {
            walked(start, passes, unable, barred).map(|w| w.join(" "))
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(way("a", &[], &[], &[]), is("a"));
        assert_eq!(way("a", &[("a", "b")], &[], &[]), is("a b"));
        // Somebody who left passes on to whoever took over.
        assert_eq!(way("a", &[("a", "b"), ("b", "c")], &["a", "b"], &[]), is("a b c"));
        // One who cannot decide is passed over.
        assert_eq!(way("a", &[("a", "b")], &["b"], &[]), is("a"));
        assert_eq!(way("a", &[("a", "b")], &["a", "b"], &[]), None);
        // Cycles of one, two and three end at the last.
        assert_eq!(way("a", &[("a", "a")], &[], &[]), is("a"));
        assert_eq!(way("a", &[("a", "b"), ("b", "a")], &[], &[]), is("a b"));
        assert_eq!(way("a", &[("a", "b"), ("b", "c"), ("c", "a")], &[], &[]), is("a b c"));
        assert_eq!(way("a", &[("a", "b"), ("b", "c"), ("c", "b")], &["c"], &[]), is("a b"));
        // Whoever must not decide gets nothing and passes nothing on.
        assert_eq!(way("r", &[("r", "x")], &[], &["r"]), None);
        assert_eq!(way("a", &[("a", "r"), ("r", "x")], &[], &["r"]), is("a"));
        assert_eq!(way("a", &[("a", "r"), ("r", "x")], &["a"], &["r"]), None);
    }

    #[test]
    fn passing_on_is_bounded() {
        let names: Vec<String> = (0..20).map(|n| format!("p{n:02}")).collect();
        let passes: Vec<(&str, &str)> = names.windows(2).map(|w| (w[0].as_str(), w[1].as_str())).collect();
        let way = walked("p00", &passes, &[], &[]).expect("a holder");
        assert_eq!((way.len(), way.last().map(String::as_str)), (6, Some("p05")));
    }
}
